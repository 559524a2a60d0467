"""Is everything there that the portal needs? For launchers and monitors."""

import sqlalchemy as sa
import structlog
from flask import Blueprint, Response, jsonify

from app.auth import access
from app.extensions import db
from app.models.base import now
from app.runtime import runtime
from app.services import worker_status
from imprimatur.address_book import AddressBookDamaged, NotDeployed
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable

blueprint = Blueprint("health", __name__)
log = structlog.get_logger()


@blueprint.get("/healthz")
@access.public
def healthz() -> tuple[Response, int]:
    """States of database, chain and worker; 503 when database or chain is down."""
    database, chain, worker = "ok", "ok", "unknown"
    try:
        worker = "ok" if worker_status.is_alive(db.session, now()) else "stopped"
    except sa.exc.SQLAlchemyError as error:
        log.error("database_unavailable", error=type(error).__name__)
        database = "down"
    try:
        licenses = runtime().chain.licenses()
        if licenses.rpc.call("eth_getCode", [licenses.address, "latest"]) in ("0x", ""):
            chain = "no_contract"
    except (NodeUnreachable, NodeRefused):
        chain = "down"
    except (NotDeployed, AddressBookDamaged):
        chain = "no_contract"
    status = 200 if database == chain == "ok" else 503
    return jsonify(database=database, chain=chain, worker=worker), status
