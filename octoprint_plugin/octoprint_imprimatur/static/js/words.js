/* Words of the licensed jobs' pages: what the server says, numbers and dates, in the operator's language. */
(function () {
    "use strict";

    var imprimatur = (window.Imprimatur = window.Imprimatur || {});

    imprimatur.url = function (path) {
        return OctoPrint.getBlueprintUrl("imprimatur") + path;
    };

    /* A message of the server in the operator's language; values may be messages themselves. */
    imprimatur.tell = function (message) {
        if (!message) return "";
        var values = _.mapValues(message.values, function (value) {
            return _.isObject(value) ? imprimatur.tell(value) : value;
        });
        return _.sprintf(gettext(message.text), values);
    };

    imprimatur.notify = function (title, text, type) {
        new PNotify({title: title, text: text, type: type, title_escape: true, text_escape: true});
    };

    /* Why a request came to nothing, in one sentence. */
    imprimatur.whyFailed = function (xhr) {
        var answer = xhr.responseJSON;
        if (answer && answer.reason) return imprimatur.tell(answer.reason);
        if (xhr.status === 403) {
            return gettext("Your account may not do this, or your password has to be confirmed first. Nothing was changed.");
        }
        if (!xhr.status) return gettext("OctoPrint didn't answer. Nothing was started. Try again.");
        return _.sprintf(gettext("OctoPrint couldn't do this (error %(status)d). Reload the page and try again."), xhr);
    };

    imprimatur.showRefusal = function (xhr) {
        imprimatur.notify(gettext("Refused"), imprimatur.whyFailed(xhr), "error");
    };

    function language() {
        return LOCALE.replace("_", "-");
    }

    /* With the decimal mark of the operator's language. */
    imprimatur.decimal = function (number, digits) {
        return number.toLocaleString(language(), {maximumFractionDigits: digits});
    };

    /* Unix seconds as a day, or with its time. */
    imprimatur.day = function (seconds) {
        return new Date(seconds * 1000).toLocaleDateString(language());
    };
    imprimatur.moment = function (seconds) {
        return new Date(seconds * 1000).toLocaleString(language(), {dateStyle: "short", timeStyle: "short"});
    };

    imprimatur.duration = function (seconds) {
        var minutes = Math.max(1, Math.round(seconds / 60));
        var hours = Math.floor(minutes / 60);
        if (!hours) return _.sprintf(gettext("%(minutes)d min"), {minutes: minutes});
        return _.sprintf(gettext("%(hours)d h %(minutes)d min"), {hours: hours, minutes: minutes % 60});
    };

    imprimatur.shortened = function (address) {
        return address ? address.slice(0, 8) + "…" + address.slice(-6) : "";
    };

    imprimatur.policyName = function (policy) {
        return {
            licensed_only: gettext("Only licensed jobs"),
            licensed_and_free: gettext("Licensed jobs and own files")
        }[policy];
    };

    /* Puts new values into a list of observables, by their ids: what stands on the page stays there, with its focus
       and what was opened in it. */
    imprimatur.update = function (list, values) {
        var known = {};
        list.peek().forEach(function (item) {
            known[item.peek().id] = item;
        });
        list(
            values.map(function (value) {
                var item = known[value.id];
                if (!item) return ko.observable(value);
                if (!_.isEqual(item.peek(), value)) item(value);
                return item;
            })
        );
    };

    /* The codes that the portal knows, in the order in which they are offered. */
    imprimatur.failures = function () {
        return [
            {code: "adhesion", text: gettext("The part came off the bed")},
            {code: "clogged", text: gettext("No material came out of the nozzle")},
            {code: "shifted", text: gettext("Layers are shifted")},
            {code: "material", text: gettext("Wrong material, or it ran out")},
            {code: "power", text: gettext("Power cut, or the printer stopped")},
            {code: "other", text: gettext("Something else")}
        ];
    };

    /* Themes of OctoPrint come from plugins and don't say whether they are dark: the page itself does. */
    imprimatur.followTheme = function () {
        var element = document.querySelector(".tab-content") || document.body;
        var colour;
        do {
            colour = (window.getComputedStyle(element).backgroundColor.match(/[\d.]+/g) || []).map(Number);
            element = element.parentElement;
        } while (element && (colour.length < 3 || colour[3] === 0));
        var isDark = colour.length >= 3 && colour[3] !== 0 && 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 128;
        document.documentElement.classList.toggle("imp-dark", isDark);
    };
})();
