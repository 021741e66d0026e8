environment   = "staging"
domain        = "staging.growbin.app"
vpc_cidr      = "10.20.0.0/16"
bucket_prefix = "eco2-staging"
web_origins   = ["https://staging.growbin.app", "https://api.staging.growbin.app"]
