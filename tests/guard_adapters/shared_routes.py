"""A table of aiohttp's that others reach through this module."""

from aiohttp import web

routes = web.RouteTableDef()
