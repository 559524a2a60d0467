/* A license as its card shows it. */
(function () {
    "use strict";

    var imprimatur = (window.Imprimatur = window.Imprimatur || {});
    var cards = (imprimatur.cards = {});
    /* More copies than this are a bar instead of single marks. */
    var MOST_MARKS = 20;

    cards.title = function (license) {
        return license.name || (license.files.length ? license.files[0].name : gettext("unnamed file"));
    };

    cards.numberText = function (license) {
        return _.sprintf(gettext("No. %(number)s"), {number: license.number || "0x…" + license.id.slice(-12)});
    };

    cards.leftText = function (license) {
        return _.sprintf(gettext("%(remaining)d of %(copies)d copies left"), license);
    };

    cards.isReady = function (license) {
        return license.state === "ready";
    };

    cards.isOwnFile = function (license) {
        return license.kind === "own_file";
    };

    cards.lacksFile = function (license) {
        return cards.isReady(license) && cards.isOwnFile(license) && !license.files.length;
    };

    /* One mark for each copy: used ones first, as they were printed. Empty when there are too many. */
    cards.marks = function (license, next) {
        if (license.copies > MOST_MARKS) return [];
        var used = license.copies - license.remaining;
        return _.range(1, license.copies + 1).map(function (copy) {
            return copy <= used ? "imp-used" : copy === next ? "imp-next" : "imp-left";
        });
    };

    cards.facts = function (license) {
        var facts = [];
        var add = function (icon, text, title) {
            facts.push({icon: icon, text: text, title: title});
        };
        if (cards.isOwnFile(license)) add("fa-folder-open", gettext("own file"), gettext("The file lies on this OctoPrint, not at a portal"));
        if (license.print_time) add("fa-clock", imprimatur.duration(license.print_time), gettext("Print time"));
        if (license.material) add("fa-tint", license.material, gettext("Material"));
        if (license.filament) add("fa-weight", imprimatur.decimal(license.filament, 1) + " g", gettext("Filament"));
        if (license.layer_height) add("fa-layer-group", imprimatur.decimal(license.layer_height, 2) + " mm", gettext("Layer height"));
        if (license.size) add("fa-file", formatSize(license.size), gettext("Size"));
        if (license.valid_until) {
            add("fa-calendar", _.sprintf(gettext("until %(date)s"), {date: imprimatur.day(license.valid_until)}), gettext("Valid until"));
        }
        return facts;
    };

    /* What the license allows, line by line. */
    cards.terms = function (license) {
        var terms = license.terms;
        var lines = [
            {
                name: gettext("Valid until"),
                text: terms.valid_until ? imprimatur.moment(terms.valid_until) : gettext("unlimited")
            }
        ];
        if (_.isNumber(terms.failures_left)) {
            lines.push({
                name: gettext("Failed prints that are given back"),
                text: _.sprintf(gettext("%(left)d more"), {left: terms.failures_left})
            });
        }
        if (terms.site) lines.push({name: gettext("Only to be printed at"), text: terms.site});
        if (terms.license_text) {
            lines.push({name: gettext("License text (SHA-256)"), text: terms.license_text, isCode: true});
        }
        lines.push({name: gettext("Owner"), text: license.owner, isCode: true});
        lines.push({name: gettext("License"), text: license.id, isCode: true});
        lines.push({name: gettext("SHA-256 of the file"), text: license.file_hash, isCode: true});
        return lines;
    };

    var STATES = {
        not_yet_on_chain: {icon: "fa-hourglass-half", kind: "imp-warn"},
        expired: {icon: "fa-calendar-times", kind: "imp-over"},
        revoked: {icon: "fa-ban", kind: "imp-bad"},
        used_up: {icon: "fa-check-double", kind: "imp-over"},
        not_trusted: {icon: "fa-user-shield", kind: "imp-warn"},
        untold: {icon: "fa-question-circle", kind: "imp-warn"}
    };
    cards.stateIcon = function (license) {
        return (STATES[license.state] || {icon: "fa-question-circle"}).icon;
    };
    cards.stateKind = function (license) {
        return (STATES[license.state] || {kind: "imp-warn"}).kind;
    };
    cards.stateName = function (license) {
        return {
            not_yet_on_chain: gettext("Not on the chain yet"),
            expired: gettext("Expired"),
            revoked: gettext("Revoked"),
            used_up: gettext("All copies used"),
            not_trusted: gettext("Needs a trusted printer"),
            untold: gettext("Portal doesn't know it")
        }[license.state] || license.state;
    };
    /* Whether a license is what the operator looks for: name, number and owner hold every word. */
    cards.matches = function (license, query) {
        var text = [license.name, license.number, license.owner_name, license.owner, license.id].join(" ").toLowerCase();
        return query.toLowerCase().split(/\s+/).every(function (word) {
            return text.indexOf(word) >= 0;
        });
    };
})();
