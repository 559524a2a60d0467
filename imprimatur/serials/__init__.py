"""What a part carries: `text` (serials), `tag_key` (its key, commitment and check-out), `entry` (the serial
encrypted for owner and printer), `tag` (what the tag says) and `marks` (QR and NDEF)."""
