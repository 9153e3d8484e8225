"""The HTTP vocabulary: routes, their access, bodies, problems, the cookie. Knows no feature."""
