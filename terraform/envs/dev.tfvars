environment   = "dev"
domain        = "dev.growbin.app"
vpc_cidr      = "10.10.0.0/16"
bucket_prefix = "eco2-dev"
web_origins   = ["https://dev.growbin.app", "https://api.dev.growbin.app"]
