"""A report as people read it."""

from imprimatur.audit.checks import conservation
from imprimatur.audit.files import FilesOfLicense
from imprimatur.audit.history import Copy, LicenseHistory
from imprimatur.audit.portal import PortalComparison
from imprimatur.audit.report import NO_HASH, NO_PAYMENT, Report
from imprimatur.cli.result import one_line
from imprimatur.cli.times import utc


def tell(report: Report) -> str:
    """The whole report; contradictions stand at the end, where a terminal shows them."""
    lines = _head(report)
    for license in report.licenses:
        lines += ["", *_license(report, license)]
    if report.portal is not None:
        lines += ["", *_portal(report.portal)]
    if report.files is not None:
        lines += ["", f"{report.files.files} files were looked at."]
        lines += [
            f"Can't be read, or begins as a manifest and isn't one: {one_line(name)}"
            for name in report.files.unreadable
        ]
        unasked = report.files.not_checkable
        lines += [
            f"The node can't check this manifest; ask an archive node: {one_line(name)}" for name in unasked
        ]
    return "\n".join([*lines, "", *_verdict(report)])


def _head(report: Report) -> list[str]:
    rebuilt = report.rebuilt
    head, replay = rebuilt.head, rebuilt.replay
    how = "receipts and headers rebuilt" if rebuilt.verified else "as the node says, nothing rebuilt"
    bound = (
        "bound to the block that you trust" if rebuilt.anchored else "headers fit each other, not anchored"
    )
    lines = [f"Chain {rebuilt.chain_id} up to block {head.number} ({utc(head.time)}), {head.hash}"]
    lines += [f"{name} {address}" for name, address in report.addresses.items()]
    lines.append(f"{replay.events} events read: {how}; {bound if rebuilt.verified else 'not anchored'}.")
    if report.comparison.unavailable:
        lines.append(f"Not compared with all of the contracts' own state. {report.comparison.unavailable}")
    return lines


def _license(report: Report, license: LicenseHistory) -> list[str]:
    time = report.rebuilt.head.time
    ended = "revoked" if license.revoked else "expired" if license.is_expired(time) else "valid"
    controller = report.rebuilt.replay.parties.controller_of(license.owner)
    lines = [
        f"License {license.id}: {ended}, {report.balance(license).remaining} copies left",
        f"  Who owns it?             {license.owner}",
    ]
    if controller != license.owner:
        lines.append(f"                           {controller} acts for her")
    for operator in report.operators(license):
        lines.append(
            f"                           {operator['account']} may {', '.join(operator['rights'])} "
            f"until {utc(int(operator['until']))}"
        )
    lines.append(f"                           held by the printer wallet {license.printer}")
    lines.append(f"  Is the data intact?      file {license.file_hash}{_found(report, license)}")
    if license.manifest_hash != NO_HASH:
        lines.append(f"                           manifest {license.manifest_hash}")
    for file in license.files.values():
        state = "approved too" if file.approved else "no longer approved"
        lines.append(f"                           file {file.file_hash} {state}")
    lines.append(
        f"  How many were printed?   {license.announced} announced: {license.used} consumed, "
        f"{license.failed} failed"
    )
    lines.append(f"                           {report.balance(license)}")
    copies = report.copies(license)
    lines.append("  Who is liable?           " + (_copy(copies[0]) if copies else "nothing was printed"))
    lines += [f"                           {_copy(copy)}" for copy in copies[1:]]
    lines.append(f"  Was the owner paid?      {NO_PAYMENT}")
    return lines


def _copy(copy: Copy) -> str:
    text = f"copy {copy.number}, {utc(copy.place.time)}: device {copy.device}"
    if copy.wallet != copy.device:
        text += f" for {copy.wallet}"
    if copy.attestors:
        text += f", vouched for by {', '.join(voucher.attestor for voucher in copy.attestors)}"
    if copy.failed:
        text += ", failed"
    if copy.replaced:
        text += ", replaced"
    return text


def _found(report: Report, license: LicenseHistory) -> str:
    found: FilesOfLicense | None = report.files_of(license)
    if found is None:
        return ""
    pieces = [
        f"{what} {one_line(name)}"
        for what, name in (
            ("file", found.print_file),
            ("sealed file", found.sealed_file),
            ("manifest", found.manifest),
        )
        if name
    ]
    return f" (intact: {', '.join(pieces)})" if pieces else " (not among the files)"


def _portal(portal: PortalComparison) -> list[str]:
    lines = [f"The portal has {portal.licenses} licenses, {len(portal.waiting)} of them not carried out."]
    lines += [f"Only on the chain: {id}" for id in portal.not_in_portal]
    return lines


def _verdict(report: Report) -> list[str]:
    contradictions = report.contradictions
    balance = conservation(report.licenses, report.comparison.remaining)
    lines = [f"{len(report.licenses)} licenses: {balance}"]
    remarks = report.rebuilt.replay.remarks
    if remarks:
        lines.append(f"{len(remarks)} remarks, which are no contradictions:")
        lines += [f"  {one_line(str(remark))}" for remark in remarks]
    if contradictions:
        lines.append(f"{len(contradictions)} contradictions:")
        return lines + [f"  {one_line(str(contradiction))}" for contradiction in contradictions]
    lines.append("No contradictions.")
    if not report.anchored:
        lines.append(
            "Not anchored: no block that you trust vouches for this (--trusted-head, --trusted-node)."
        )
    return lines
