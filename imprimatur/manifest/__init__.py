"""The signed manifest that travels with a print file: `document` (what it says), `signature` (who says so),
`verification` (whether the chain agrees)."""
