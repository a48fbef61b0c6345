"""What every reason means, what to do about it and what never to do, for `svcport explain`.

Words only. They are written for somebody at a door at night, without a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from svcport.errors import Reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """One reason in full sentences.

    Attributes:
        meaning: what happened, one or two sentences.
        do: what to do, in this order.
        never: the mistake that this reason invites; one sentence.
    """

    meaning: str
    do: tuple[str, ...]
    never: str


_CALLS: Final = {
    Reason.USAGE: Explanation(
        "The command line cannot be understood: an option is unknown, missing or contradicts"
        " another, or a file that it names cannot be read.",
        ("Run the command with --help; it shows examples.",),
        "Do not quote passphrases on the command line: use --passphrase-fd or the prompt.",
    ),
    Reason.SEVERAL_LOCKS: Explanation(
        "More than one lock answers, and no port was named; nothing was done to any of them.",
        (
            "Run `svcport ports` and name the one you mean with --port.",
            "If you mean all of them, say --all.",
        ),
        "Do not unplug at random until it works: check the serial on the housing.",
    ),
    Reason.WRONG_LOCK: Explanation(
        "The lock on the cable proved to be another one than --expect-serial names. Nothing was"
        " done.",
        (
            "Compare the serial printed on the housing with the work order.",
            "Move the cable to the right lock, or correct the serial.",
        ),
        "Do not drop --expect-serial to get past this: it is what keeps you off the wrong door.",
    ),
    Reason.NOT_SET_UP: Explanation(
        "This home holds no trust and no technician's credential, or svcport is not properly"
        " installed, so nothing can be done to a lock.",
        (
            "Run `svcport setup --from DIR` with the folder that your issuer gave you.",
            "If you have set it up before, check --home and SVCPORT_HOME.",
        ),
        "Do not copy another technician's home: acts are signed in the holder's name.",
    ),
}

_IMAGES: Final = {
    Reason.IMAGE_MALFORMED: Explanation(
        "The file is not a firmware image, is damaged, or uses something that a lock cannot take,"
        " such as encryption or compression.",
        (
            "Run `svcport image inspect FILE` to see where it breaks.",
            "Get the file again from where it came, and compare its size.",
        ),
        "Do not repair an image by hand: its signature would not hold.",
    ),
    Reason.IMAGE_HASH: Explanation(
        "The bytes of the image are not those that were signed: it was damaged on its way.",
        (
            "Copy or download it again.",
            "If it came with the catalogue, run `svcport setup --from DIR` again.",
        ),
        "Do not use a stick that damages files twice.",
    ),
    Reason.IMAGE_SIGNATURE: Explanation(
        "The image carries no signature, or one that the named key did not make: somebody changed"
        " it, or it was never released.",
        ("Use an image from the vendor's catalogue.", "Tell the vendor where this file came from."),
        "Do not put it on a lock by other means: a lock that takes it is open to anybody.",
    ),
    Reason.IMAGE_SIGNER: Explanation(
        "The image is signed, but by a key that this installation does not trust.",
        (
            "Check that the image is from the vendor of this lock.",
            "If the vendor has a new key, run `svcport setup --from DIR` with its newest bundle.",
            "For `image verify`, give the vendor's public key with --key.",
        ),
        "Do not add a key that came in the same mail as the image.",
    ),
    Reason.IMAGE_MODEL: Explanation(
        "The image is made for another model, hardware revision or batch than this lock is.",
        (
            "Run `svcport identify` and compare model, hardware and batch.",
            "Leave out --image: the catalogue knows which release fits.",
        ),
        "There is no way to force it, and it would not start.",
    ),
    Reason.IMAGE_WITHDRAWN: Explanation(
        "The vendor has withdrawn this release; an advisory says why.",
        (
            "Run `svcport diagnose` to read the advisory.",
            "Run `svcport restore`, which takes the release that replaces it.",
        ),
        "Do not go back to it because it once worked: it was withdrawn for what comes later.",
    ),
    Reason.ANTI_ROLLBACK: Explanation(
        "The image's security counter is lower than the lock's. The lock would never start it.",
        (
            "Use a release whose counter is not lower: `svcport restore` picks one.",
            "`svcport image inspect FILE` shows an image's counter, `svcport identify` the lock's.",
        ),
        "Do not look for a way to lower the counter: there is none, on purpose.",
    ),
    Reason.NO_OLDER_IMAGE: Explanation(
        "The other slot holds no image of a lower version, so there is nothing to roll back to.",
        (
            "Run `svcport identify` to see what both slots hold.",
            "For another release use `svcport restore --version V`.",
        ),
        "Do not use rollback to get a newer image: that is what restore is for.",
    ),
    Reason.NOT_CONFIRMED: Explanation(
        "The lock is trying out an image that has not been confirmed; nothing may be written until"
        " the trial ends.",
        (
            "Run `svcport restore` for the image on trial: it finishes the trial.",
            "Or wait: after ten minutes the lock falls back by itself.",
        ),
        "Do not pull the battery to hurry it.",
    ),
    Reason.NOT_BOOTABLE: Explanation(
        "The image in that slot would not start: it is incomplete, damaged or not signed.",
        ("Run `svcport restore`: it writes a whole image and proves that it runs.",),
        "Do not switch to it in the hope that it starts.",
    ),
}

_AUTHORITY: Final = {
    Reason.REVOKED: Explanation(
        "The credential was revoked by the vendor, here or in the lock's own list.",
        ("Call your issuer for a new credential.", "Run `svcport setup --from DIR` with it."),
        "Do not borrow a colleague's credential.",
    ),
    Reason.CREDENTIAL_EXPIRED: Explanation(
        "The technician's certificate, or that of its issuer, is no longer or not yet valid; or "
        "this computer's clock went back behind what its own records have seen.",
        (
            "Check this computer's date and time: `svcport doctor`.",
            "Get a new credential from your issuer and run `svcport setup --from DIR`.",
        ),
        "Do not set the clock back: locks remember the time, and the record would show it.",
    ),
    Reason.PERMIT_EXPIRED: Explanation(
        "The ticket for this act is no longer or not yet valid.",
        ("Ask the issuer for a new ticket for this lock.", "Check the clock: `svcport doctor`."),
        "Do not set the clock back to make it fit.",
    ),
    Reason.PERMIT_LOCK: Explanation(
        "The ticket is for another lock.",
        (
            "Compare the serial on the housing with the one on the ticket.",
            "Ask the issuer for a ticket for this lock.",
        ),
        "Do not edit a ticket: it is signed.",
    ),
    Reason.PERMIT_IMAGE: Explanation(
        "The ticket names another image, or another kind of act.",
        ("Use the image that the ticket names.", "Or ask the issuer for a ticket for this image."),
        "Do not rename files to match: the ticket names the content.",
    ),
    Reason.PERMIT_USED: Explanation(
        "The lock has seen this ticket before; each is good for one act.",
        (
            "Use another ticket; svcport takes the next one by itself if the home holds one.",
            "Ask the issuer for more.",
        ),
        "Do not try it on the lock again: the answer will be the same.",
    ),
    Reason.NO_PERMIT: Explanation(
        "This act needs a ticket, and neither the home nor --ticket has one that fits. Rollback,"
        " and an image that the catalogue does not approve, always need one.",
        (
            "Ask the issuer for a ticket with this lock's serial and the image's digest.",
            "A plain `svcport restore` to the approved release needs no ticket.",
        ),
        "Do not use another lock's ticket: the lock refuses it.",
    ),
    Reason.BATTERY_LOW: Explanation(
        "The battery is too weak to write firmware and start it: a lock that goes dark half-way"
        " would need you again.",
        ("Put in fresh batteries, or connect the bench supply.", "Then run the command again."),
        "Do not mix old and new batteries.",
    ),
    Reason.CATALOGUE_EXPIRED: Explanation(
        "The vendor's catalogue in this home is older than the vendor allows, so that withdrawn"
        " firmware may not be known here.",
        (
            "Get the newest catalogue and run `svcport setup --from DIR`.",
            "Check this computer's clock: `svcport doctor`.",
        ),
        "Do not set the clock back.",
    ),
    Reason.CATALOGUE_ROLLBACK: Explanation(
        "The catalogue offered is older than the one this home already has: an old stick, or"
        " somebody who wants a withdrawn release back.",
        ("Get the newest catalogue from the vendor.", "Throw away the old stick."),
        "Do not delete the home's catalogue to make the old one acceptable.",
    ),
    Reason.SIGNER_LOCKED: Explanation(
        "The key that signs your acts is locked or missing, its passphrase or PIN is wrong, or its"
        " token or ssh-agent has gone away.",
        (
            "Plug the token in; load the key with ssh-add.",
            "Run the command in a terminal and type the passphrase or PIN,"
            " or pass it with --passphrase-fd or --pin-fd.",
            "If it went away in the middle of an act, then run `svcport reconcile`.",
            "If the key is gone for good, ask the issuer for a new credential.",
        ),
        "Do not put a passphrase or PIN into a script or onto the command line, and do not guess"
        " PINs: tokens lock themselves.",
    ),
}

_LINK: Final = {
    Reason.NO_LOCK: Explanation(
        "No lock answers: no cable, no power, the wrong port, or a device that is not a lock.",
        (
            "Check the cable at both ends and the lock's battery.",
            "Run `svcport doctor`: it finds missing drivers and permissions.",
            "Use --wait 30 and plug the cable in while it waits.",
        ),
        "Do not replace a lock before you have tried another cable.",
    ),
    Reason.PORT_BUSY: Explanation(
        "Another program has the port open: another svcport, a terminal, a modem manager.",
        (
            "Close the other program, or wait until it has finished: --wait 30.",
            "`svcport doctor --port P` tries the port.",
        ),
        "Do not kill a svcport that is restoring; if it died, the port is free again.",
    ),
    Reason.LOCK_IDENTITY: Explanation(
        "What answers cannot prove that it is a lock of your vendor, or real and training devices"
        " meet. Nothing was told to it.",
        (
            "Check that this home belongs to this lock's vendor, and --home.",
            "A simulated lock needs a home that was set up from its own lab.",
            "If the housing is the vendor's, set the lock aside and report it: it may be a fake.",
        ),
        "Do not work on it with other tools first: it is evidence.",
    ),
    Reason.PROTOCOL_VERSION: Explanation(
        "The lock and this svcport have no version of the protocol in common.",
        ("Update svcport.", "If it is the newest, report the lock's bootloader version."),
        "Do not use an old copy of svcport from a stick.",
    ),
    Reason.LINK_LOST: Explanation(
        "The connection broke: the cable, the adapter or the lock's power. The exit code says how"
        " far it had come.",
        (
            "Exit code 4 or 5: reseat the cable and run the same command again; it continues.",
            "Exit code 6: run `svcport reconcile` first.",
            "If it happens again, change the cable or the adapter.",
        ),
        "Do not pull the battery while the exit code is 6.",
    ),
    Reason.LOCK_REFUSED: Explanation(
        "The lock itself said no; the message has its words.",
        (
            "Read the message and run `svcport diagnose`.",
            "Run the command again once the cause is gone.",
        ),
        "Do not repeat it in a loop: the lock slows down and writes it into its log.",
    ),
    Reason.NOT_MEASURABLE: Explanation(
        "It could not be found out what the lock runs, so the answer is neither yes nor no.",
        (
            "Run `svcport verify` again.",
            "If it stays so, `svcport restore`: it puts known firmware on the lock.",
        ),
        "Do not take this for a pass.",
    ),
}

_RECORDS: Final = {
    Reason.LEDGER_DAMAGED: Explanation(
        "Records of this installation are not what was written. It refuses to touch a lock until"
        " that is cleared up.",
        (
            "Run `svcport audit verify`: it names the entry.",
            "Run `svcport audit export --damaged DIR` and keep the result.",
            "Tell your supervisor; go on with a fresh home: svcport --home DIR setup --from DIR.",
        ),
        "Do not delete the ledger: locks remember what was done, and the hole would show.",
    ),
    Reason.LEDGER_GAP: Explanation(
        "The lock has signed receipts that this ledger lacks: something was done that is not"
        " recorded here, perhaps by another station.",
        (
            "Run `svcport reconcile` with the lock on the cable.",
            "If another station did it, merge its records.",
        ),
        "Do not ignore it on a lock that nobody else should have touched.",
    ),
    Reason.LEDGER_FORK: Explanation(
        "A station signed two histories that cannot both be true: its ledger was put back from an"
        " old copy, or rewritten, after it had been shown to somebody.",
        (
            "Stop using that ledger: go on with a fresh home, svcport --home DIR setup --from DIR.",
            "Keep both states: the ledger's folder, and the checkpoint or export it contradicts.",
            "Run `svcport audit export` into a new folder, and give both to your supervisor.",
        ),
        "Do not put another copy back in the hope that it fits: that makes a third history.",
    ),
    Reason.CHECKPOINT_REFUSED: Explanation(
        "This station would not witness a checkpoint: it does not know the log, the log did not"
        " sign it, or the request starts from another size than the one witnessed last.",
        (
            "The report says which, as `status`: 404, 403 or 409; `size` is what was witnessed.",
            "For 404, give the log's own `vkey` file with --vkey, from a source that you trust.",
            "For 409, ask for a new request from that size on.",
        ),
        "Do not take a key for a log from whoever asks you to witness it.",
    ),
    Reason.RECEIPT_INVALID: Explanation(
        "A receipt does not verify: it is not by this lock, does not follow the one before, or"
        " answers nothing that was asked.",
        (
            "Run `svcport reconcile`.",
            "If it stays so, export the ledger and have the lock examined.",
        ),
        "Do not report the act as done.",
    ),
    Reason.STORAGE: Explanation(
        "A file or the disk cannot be read or written: full, read-only, missing or no permission.",
        (
            "Free space, or give a writable folder with --home.",
            "Check the path in the message: `svcport doctor` tests the home.",
        ),
        "Do not put the home on a stick that you pull out.",
    ),
    Reason.INTERRUPTED: Explanation(
        "The command was stopped before it had finished: Ctrl-C, the system, or a fault of"
        " svcport. The exit code says how far it had come.",
        (
            "Exit code 4: nothing was changed; run it again.",
            "Exit code 5: the running firmware is untouched; run it again, it continues.",
            "Exit code 6: run `svcport reconcile`.",
        ),
        "Do not unplug a lock because svcport was stopped: it is safe, but ask it first.",
    ),
}

EXPLANATIONS: Final = {**_CALLS, **_IMAGES, **_AUTHORITY, **_LINK, **_RECORDS}
"""Every reason there is, in the order in which reports name them."""
