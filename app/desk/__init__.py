"""The key desk: an app of its own, the only one that opens file keys (`gunicorn "app.desk:create_app()"`)."""

from collections.abc import Sequence

import sqlalchemy as sa
from flask import Flask

from app import logs, settings
from app.desk import views
from app.services.consumption import Witnesses
from app.services.desk_keys import DeskKeys, open_keys, require_identity
from app.services.key_desk import KeyDesk
from imprimatur.chain.rpc import HttpRpc, Rpc

MAX_BODY = 4096
"""Bytes. A request has about 250."""
CONNECT_TIMEOUT, READ_TIMEOUT, DEADLINE = 2.0, 4.0, 6.0
"""Seconds that a device waits for an answer of each of the desk's nodes at most. Events in parts are many
answers: `chain.logs.AWAITED`."""
LARGEST_ANSWER = 64 << 20
"""Bytes: all events of a license with 65,535 copies."""


def create_app(
    options: settings.Settings | None = None,
    own: settings.DeskSettings | None = None,
    nodes: Sequence[Rpc] | None = None,
    keys: DeskKeys | None = None,
) -> Flask:
    """The desk, with its keys open. It asks neither database nor node until a request does.

    Args:
        options: read from the environment when None, as `own`.
        nodes: instead of those at `own.chain_urls`.
        keys: open already, instead of those in `own`'s files.

    Raises:
        SettingInvalid: names the setting.
        DeskKeysUnusable, KeystoreUnusable: a key can't be opened, or isn't the one that files are sealed for.
    """
    options = settings.load() if options is None else options
    own = settings.load_desk() if own is None else own
    keys = open_keys(own) if keys is None else keys
    require_identity(keys, options.desk)
    if nodes is None:
        nodes = [
            HttpRpc(
                url,
                READ_TIMEOUT,
                connect_timeout=CONNECT_TIMEOUT,
                deadline=DEADLINE,
                retries=1,
                largest_answer=LARGEST_ANSWER,
            )
            for url in own.chain_urls
        ]
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    # No session of an ORM, nor its teardown: a key request is a few statements that are made once.
    database = sa.create_engine(options.database_url)
    witnesses = Witnesses(nodes, options.deployments, options.finality)
    desk = KeyDesk(keys, witnesses, database, own.per_minute)
    app.extensions["imprimatur_desk"] = views.Desk(desk, witnesses, database, options.desk_url)
    logs.init_app(app)
    app.register_blueprint(views.blueprint)
    return app
