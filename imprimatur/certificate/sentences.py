"""The sentences of `explaining`, in English and German."""

ENGLISH = {
    "anchored": "Proven: the certificate leads to blocks of chain {chain} that you trust: {blocks}.",
    "not_anchored": (
        "Consistent, not anchored: everything fits together, but nobody has confirmed that chain {chain} "
        "has these blocks: {blocks}. Compare the hashes with a node or an explorer that you trust."
    ),
    "consumed": (
        "Copy {copy} of the license {id} of the owner {owner} was consumed by the device {device}, in "
        "block {number} of chain {chain}, at {time}."
    ),
    "printer": (
        "The license was held by the printer wallet {printer}; the contract {contract} checked that the "
        "device acts for it and that the license was valid and not exhausted."
    ),
    "file": "The copy was consumed for the file with the SHA-256 {file_hash}, which the license allows.",
    "announced": "A part with the commitment {commitment} was announced with it.",
    "no_serial": "No serial was logged with it.",
    "tag": "The serial {serial} and the tag {address} belong to this commitment.",
    "not_failed": "As of block {number} ({time}) copy {copy} was neither reported as failed nor replaced.",
    "never_reported": (
        "As of block {number} ({time}) no copy of the license was reported as failed. The owner may have "
        "replaced copy {copy}."
    ),
    "closed": (
        "As of block {number} ({time}) copy {copy} was reported as failed, replaced by the owner, or "
        "closed when the license changed hands. Which of these, the PrintFailed events tell."
    ),
    "unknown": (
        "As of block {number} ({time}) {failed} copies were reported as failed; the contract no longer "
        "remembers whether copy {copy} is one of them. The PrintFailed events tell."
    ),
    "counts": "Copies as of block {number}: {used} consumed, {remaining} left.",
    "revoked": "As of block {number} the owner had ended the license.",
    "expires": "The license is valid until {until}.",
    "not_proven": "Not proven:",
    "this_part": (
        "That the part in your hand is the one that was announced. Scan its tag: serial and tag open the "
        "commitment."
    ),
    "tag_copied": "That the part in your hand is the one that was announced: a printed code can be copied.",
    "produced": "That the part was produced, or is good: announced isn't produced.",
    "once": (
        "That only one part was made: who can open a file once can print it often. Attested devices and "
        "contracts reduce that, mathematics doesn't."
    ),
    "chain": (
        "That the trusted hash is right. A header doesn't name its chain: it is worth as much as the "
        "source of the hash."
    ),
    "afterwards": "What happened after block {number} ({time}): failure, revocation, recall, check-out.",
    "failure": (
        "That the print didn't fail afterwards, and what became of license and part: no state is in the "
        "certificate."
    ),
}

GERMAN = {
    "anchored": "Bewiesen: Das Zertifikat führt zu Blöcken der Kette {chain}, denen Sie vertrauen: {blocks}.",
    "not_anchored": (
        "Widerspruchsfrei, nicht verankert: Alles passt zusammen, aber niemand hat bestätigt, dass die "
        "Kette {chain} diese Blöcke hat: {blocks}. Vergleichen Sie die Hashes mit einem Knoten oder "
        "Explorer, dem Sie vertrauen."
    ),
    "consumed": (
        "Kopie {copy} der Lizenz {id} der Eigentümerin {owner} wurde vom Gerät {device} verbraucht, in "
        "Block {number} der Kette {chain}, um {time}."
    ),
    "printer": (
        "Die Lizenz gehörte dem Drucker-Konto {printer}; der Vertrag {contract} hat geprüft, dass das "
        "Gerät für dieses Konto handelt und die Lizenz gültig und nicht aufgebraucht war."
    ),
    "file": "Die Kopie wurde für die Datei mit dem SHA-256 {file_hash} verbraucht, die die Lizenz erlaubt.",
    "announced": "Dabei wurde ein Teil mit dem Commitment {commitment} angekündigt.",
    "no_serial": "Dabei wurde keine Seriennummer vermerkt.",
    "tag": "Die Seriennummer {serial} und das Etikett {address} gehören zu diesem Commitment.",
    "not_failed": (
        "Bis Block {number} ({time}) wurde Kopie {copy} weder als fehlgeschlagen gemeldet noch ersetzt."
    ),
    "never_reported": (
        "Bis Block {number} ({time}) wurde keine Kopie der Lizenz als fehlgeschlagen gemeldet. Die "
        "Eigentümerin kann Kopie {copy} ersetzt haben."
    ),
    "closed": (
        "Bis Block {number} ({time}) wurde Kopie {copy} als fehlgeschlagen gemeldet, von der Eigentümerin "
        "ersetzt oder beim Übertragen der Lizenz abgeschlossen. Was davon, sagen die "
        "PrintFailed-Ereignisse."
    ),
    "unknown": (
        "Bis Block {number} ({time}) wurden {failed} Kopien als fehlgeschlagen gemeldet; ob Kopie {copy} "
        "dabei ist, weiß der Vertrag nicht mehr. Das sagen die PrintFailed-Ereignisse."
    ),
    "counts": "Kopien bis Block {number}: {used} verbraucht, {remaining} übrig.",
    "revoked": "Bis Block {number} hatte die Eigentümerin die Lizenz beendet.",
    "expires": "Die Lizenz gilt bis {until}.",
    "not_proven": "Nicht bewiesen:",
    "this_part": (
        "Dass das Teil in Ihrer Hand das angekündigte ist. Lesen Sie sein Etikett: Seriennummer und "
        "Etikett öffnen das Commitment."
    ),
    "tag_copied": (
        "Dass das Teil in Ihrer Hand das angekündigte ist: Ein gedruckter Code lässt sich kopieren."
    ),
    "produced": "Dass das Teil hergestellt wurde oder gut ist: angekündigt ist nicht hergestellt.",
    "once": (
        "Dass nur ein Teil entstand: Wer eine Datei einmal öffnen kann, kann sie oft drucken. Bestätigte "
        "Geräte und Verträge mindern das, Mathematik nicht."
    ),
    "chain": (
        "Dass der Hash stimmt, dem Sie vertrauen. Ein Blockkopf nennt seine Kette nicht: Er ist so viel "
        "wert wie die Quelle des Hashes."
    ),
    "afterwards": "Was nach Block {number} ({time}) geschah: Fehlschlag, Widerruf, Rückruf, Ausbuchung.",
    "failure": (
        "Dass der Druck danach nicht fehlschlug und was aus Lizenz und Teil wurde: Das Zertifikat enthält "
        "keinen Stand der Lizenz."
    ),
}

SENTENCES = {"en": ENGLISH, "de": GERMAN}
