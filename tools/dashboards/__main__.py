from tools.dashboards.render import write

write()
