"""Mail: what is said, in which language, and how it is handed over. It knows no database and no user."""
