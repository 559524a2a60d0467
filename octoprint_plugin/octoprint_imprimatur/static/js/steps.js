/* A job that is under way, step by step. */
(function () {
    "use strict";

    var imprimatur = (window.Imprimatur = window.Imprimatur || {});
    var steps = (imprimatur.steps = {});

    var ICONS = {
        download: "fa-download",
        verify: "fa-fingerprint",
        consume: "fa-link",
        final: "fa-cubes",
        key: "fa-key",
        print: "fa-print"
    };
    /* The step that a job is at. A paid copy that is fetched again has all of them behind it but the key's. */
    var AT = {
        PICKED: "download",
        DOWNLOADED: "verify",
        VERIFIED: "consume",
        SIGNED: "consume",
        SENT: "consume",
        CONSUMED: "key",
        KEYED: "print",
        ARMED: "print",
        PRINTING: "print"
    };

    function isNotFinal(job) {
        return job.state === "SENT" && job.message && job.message.key === "not_final";
    }

    function name(step) {
        return {
            download: gettext("Download"),
            verify: gettext("Verify"),
            consume: gettext("Consume"),
            final: gettext("Final"),
            key: gettext("Key"),
            print: gettext("Print")
        }[step];
    }

    /* A job without a sealed file has neither a download nor a key: it is at the next step that it has. */
    function position(job) {
        var order = Object.keys(ICONS);
        var at = order.indexOf(isNotFinal(job) ? "final" : AT[job.state]);
        return _.findIndex(job.steps, function (step) {
            return order.indexOf(step) >= at;
        });
    }

    steps.of = function (job) {
        var now = position(job);
        return job.steps.map(function (step, index) {
            return {
                name: name(step),
                kind: index < now ? "imp-done" : index === now ? "imp-now" : "",
                current: index === now ? "step" : null,
                icon: index < now ? "fa-check" : ICONS[step]
            };
        });
    };

    /* For those who don't see the dots. */
    steps.spoken = function (job) {
        var now = position(job);
        return _.sprintf(gettext("Step %(number)d of %(count)d: %(name)s"), {
            number: now + 1,
            count: job.steps.length,
            name: name(job.steps[now])
        });
    };

    /* How far blocks have come towards the one that makes a use final: counted from the first look. */
    var firstFinal = {};
    function blocks(job) {
        var told = isNotFinal(job) ? job.message.values : {};
        if (!_.isNumber(told.block) || !_.isNumber(told.final)) return null;
        var first = _.has(firstFinal, job.id) ? firstFinal[job.id] : (firstFinal[job.id] = told.final);
        return {block: told.block, final: told.final, fraction: (told.final - first) / Math.max(1, told.block - first)};
    }

    /* Done of the current step, 0 to 1; null when nobody can tell. `printed`: percent of OctoPrint's print. */
    steps.fraction = function (job, printed) {
        if (job.state === "PRINTING") return (printed || 0) / 100;
        var chain = blocks(job);
        return chain ? chain.fraction : job.progress;
    };

    steps.detail = function (job) {
        var chain = blocks(job);
        if (!chain) return "";
        return _.sprintf(gettext("Used in block %(block)d; blocks up to %(final)d are final."), chain);
    };

    /* Whether something keeps a job waiting that it doesn't wait for by itself. */
    steps.isStuck = function (job) {
        var waits = ["settling", "not_final", "key_pending", "ready"];
        return !!job.message && ["KEYED", "ARMED", "PRINTING"].indexOf(job.state) < 0 && waits.indexOf(job.message.key) < 0;
    };

    var OWN_FILE = {
        PICKED: function () {
            return gettext("Comparing your file with the license. No copy is used yet.");
        },
        CONSUMED: function () {
            return gettext("Opening the file and comparing it with the license.");
        }
    };

    steps.text = function (job) {
        if (job.message && ["KEYED", "ARMED", "PRINTING"].indexOf(job.state) < 0) return imprimatur.tell(job.message);
        if (job.kind === "own_file" && OWN_FILE[job.state]) return OWN_FILE[job.state]();
        return {
            PICKED: gettext("Downloading the sealed file. No copy is used yet."),
            DOWNLOADED: gettext("Checking file and manifest against the chain. No copy is used yet."),
            VERIFIED: gettext("Signing the use of one copy."),
            SIGNED: gettext("Sending the use of one copy to the chain."),
            SENT: gettext("Waiting for the chain to confirm the copy."),
            CONSUMED: gettext("The copy is paid. Asking the key desk for the file's key."),
            KEYED: gettext("Opening the file and comparing it with the license."),
            ARMED: gettext("Heating and homing. Until the part begins, cancelling keeps the copy."),
            PRINTING: gettext("The part is being made.")
        }[job.state];
    };
})();
