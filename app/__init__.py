"""The licensing portal: owners upload print files and issue licenses, printers fetch, everybody can look."""

from typing import TYPE_CHECKING

from flask import Flask

from app import cli, errors, health, language, logs, memory, security, settings
from app.api.v1 import routes
from app.auth import access
from app.chain import ChainConnection
from app.explorer import views as explorer
from app.extensions import alembic, csrf, db, users
from app.extensions import security as accounts
from app.ids import AddressConverter, HashConverter, RowConverter
from app.runtime import Runtime
from app.services.storage import open_store
from app.web import account, dashboard, designs, licenses, printers

if TYPE_CHECKING:
    from web3.providers import BaseProvider


def create_app(options: settings.Settings | None = None, provider: "BaseProvider | None" = None) -> Flask:
    """The app. It asks neither database nor node until a request does.

    Args:
        options: read from the environment when None.
        provider: a web3 provider to use instead of the node at `options.chain_url`.

    Raises:
        SettingInvalid: names the setting.
    """
    options = settings.load() if options is None else options
    memory.keep_large_buffers()
    app = Flask(__name__, instance_path=str(settings.DEFAULT_FOLDER))
    app.config.update(security.configuration(options))
    app.url_map.converters.update(row=RowConverter, hash=HashConverter, address=AddressConverter)
    app.config["SQLALCHEMY_ENGINES"] = {"default": options.database_url}
    app.extensions["imprimatur"] = Runtime(
        settings=options,
        chain=ChainConnection(options.chain_url, options.deployments, provider),
        files=open_store(options.storage_url),
    )
    logs.init_app(app)
    security.init_app(app)
    db.init_app(app)
    alembic.init_app(app)
    csrf.init_app(app)
    language.init_app(app)
    accounts.init_app(app, users, register_blueprint=True)
    access.init_app(app)
    errors.init_app(app)
    cli.init_app(app)
    for views in (health, dashboard, designs, printers, licenses, account, explorer, language):
        app.register_blueprint(views.blueprint)
    routes.init_app(app)
    return app
