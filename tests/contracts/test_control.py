"""Who acts for an owner: herself, whoever she handed control to, and nobody by accident."""

import pytest

from conftest import NOBODY, NUMBER, RIGHT_ISSUE, license_id, names, refused


@pytest.fixture
def handed_over(licenses, people):
    """The owner's control is the buyer's now."""
    licenses.offerControl(people.owner, people.buyer, {"from": people.owner})
    return licenses.acceptControl(people.owner, {"from": people.buyer})


def test_offer_changes_nothing_yet(licenses, people, order):
    tx = licenses.offerControl(people.owner, people.buyer, {"from": people.owner})
    event = tx.events["ControlOffered"]
    assert (event["owner"], event["from"], event["to"]) == (people.owner, people.owner, people.buyer)
    assert licenses.controllerOf(people.owner) == people.owner
    licenses.issue(order(), {"from": people.owner})


def test_acceptance_hands_over(licenses, people, order, handed_over):
    event = handed_over.events["ControlTransferred"]
    assert (event["owner"], event["from"], event["to"]) == (people.owner, people.owner, people.buyer)
    assert licenses.controllerOf(people.owner) == people.buyer
    with refused("NotAllowed", people.owner, people.owner, RIGHT_ISSUE):
        licenses.issue(order(), {"from": people.owner})
    licenses.issue(order(), {"from": people.buyer})
    # The id still carries the owner's account.
    assert licenses.ownerOf(license_id(people.owner)) == people.owner


def test_old_controller_is_out(licenses, people, handed_over):
    calls = [
        lambda: licenses.offerControl(people.owner, people.owner, {"from": people.owner}),
        lambda: licenses.setOperator(people.owner, people.owner, 15, 2**64 - 1, {"from": people.owner}),
    ]
    for call in calls:
        with refused("NotAllowed", people.owner, people.owner, 0):
            call()


def test_controller_names_operators(licenses, people, order, handed_over):
    tx = licenses.setOperator(people.owner, people.operator, RIGHT_ISSUE, 2**64 - 1, {"from": people.buyer})
    assert names(tx) == ["OperatorSet"]
    licenses.issueFor(order(number=NUMBER), {"from": people.operator})


def test_control_comes_back(licenses, people, handed_over):
    licenses.offerControl(people.owner, people.owner, {"from": people.buyer})
    tx = licenses.acceptControl(people.owner, {"from": people.owner})
    assert tx.events["ControlTransferred"]["from"] == people.buyer
    assert licenses.controllerOf(people.owner) == people.owner


@pytest.mark.parametrize("who", ["stranger", "operator", "printer"])
def test_nobody_else_offers_or_accepts(licenses, people, who):
    account = getattr(people, who)
    licenses.setOperator(people.owner, people.operator, 15, 2**64 - 1, {"from": people.owner})
    with refused("NotAllowed", people.owner, account, 0):
        licenses.offerControl(people.owner, account, {"from": account})
    with refused("NotAllowed", people.owner, account, 0):
        licenses.setOperator(people.owner, account, 15, 2**64 - 1, {"from": account})
    licenses.offerControl(people.owner, people.buyer, {"from": people.owner})
    with refused("ControlNotOffered", people.owner, account):
        licenses.acceptControl(people.owner, {"from": account})


def test_offer_is_withdrawn(licenses, people):
    licenses.offerControl(people.owner, people.buyer, {"from": people.owner})
    licenses.offerControl(people.owner, NOBODY, {"from": people.owner})
    with refused("ControlNotOffered", people.owner, people.buyer):
        licenses.acceptControl(people.owner, {"from": people.buyer})


def test_offer_is_accepted_once(licenses, people, handed_over):
    with refused("ControlNotOffered", people.owner, people.buyer):
        licenses.acceptControl(people.owner, {"from": people.buyer})


def test_control_of_one_owner_is_nothing_to_another(licenses, people, order, handed_over):
    with refused("NotAllowed", people.stranger, people.buyer, RIGHT_ISSUE):
        licenses.issue(order(owner=people.stranger), {"from": people.buyer})
