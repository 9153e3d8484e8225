"""The HTTP vocabulary: routes, guards, bodies, problems, the cookie. Knows no feature."""
