"""The Flask extensions, made once and bound to an app by `create_app`."""

from typing import Any

import sqlalchemy as sa
from flask_alembic import Alembic
from flask_babel import Babel
from flask_security import FSQLALiteUserDatastore, Security
from flask_sqlalchemy_lite import SQLAlchemy
from flask_wtf import CSRFProtect

from app.models import Base, User

db = SQLAlchemy(session_options={"expire_on_commit": False})
alembic = Alembic(metadatas=Base.metadata, run_mkdir=False)
babel = Babel()
csrf = CSRFProtect()
security = Security()
users = FSQLALiteUserDatastore(db, User, None)  # type: ignore[arg-type]  # nobody has a role yet


@sa.event.listens_for(sa.Engine, "connect")
def _configure_sqlite(connection: Any, _record: Any) -> None:
    """WAL: the worker writes while pages read. FULL: a signed transaction must outlive a power cut."""
    if type(connection).__module__.startswith("sqlite3"):
        for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", "busy_timeout=15000"):
            connection.execute(f"PRAGMA {pragma}").close()
