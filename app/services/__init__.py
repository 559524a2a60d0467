"""Use cases of the portal, free of Flask: they take a database session and what else they need."""
