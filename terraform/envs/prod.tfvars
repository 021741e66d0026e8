environment            = "prod"
domain                 = "growbin.app"
vpc_cidr               = "10.30.0.0/16"
bucket_prefix          = "eco2"
web_origins            = ["https://growbin.app", "https://api.growbin.app"]
termination_protection = true
