/* What an operator is asked before something happens: print a copy, report a failure. */
(function () {
    "use strict";

    var imprimatur = (window.Imprimatur = window.Imprimatur || {});
    var cards = imprimatur.cards;
    var MOST_NOTE = 200;

    /* Opens a dialog, gives its main control the focus, and gives it back when it closes. */
    function open(selector) {
        var dialog = $(selector);
        var opener = document.activeElement;
        imprimatur.followTheme();
        dialog
            .off(".imprimatur")
            .on("shown.imprimatur", function () {
                dialog.find("[data-first]:visible").first().focus();
            })
            .on("hidden.imprimatur", function () {
                if (document.body.contains(opener)) opener.focus();
            })
            .modal("show");
    }

    /* The button that opened the dialog can't be used any more: the eyes and ears of the operator go on here. */
    function followJob() {
        _.defer(function () {
            $(".imp-running").first().focus();
        });
    }

    /* `tab` is the view model of the tab, `post` sends a wish and shows a refusal. */
    imprimatur.Dialogs = function (tab, post) {
        var self = this;

        self.print = {
            title: ko.observable(""),
            text: ko.observable(""),
            detail: ko.observable(""),
            thumbnail: ko.observable(),
            marks: ko.observableArray([]),
            files: ko.observableArray([]),
            file: ko.observable(),
            go: function () {
                $("#imprimatur_confirm").modal("hide");
                self.print.action();
            }
        };

        self.askToPrint = function (license) {
            self.print.title(cards.title(license));
            self.print.text(_.sprintf(gettext("This uses copy %(next_copy)d of %(copies)d."), license));
            self.print.detail(
                cards.isOwnFile(license)
                    ? gettext("The file is compared with the license first. A copy is only used when it is the right one.")
                    : gettext("The file is downloaded and checked first. A copy is only used when it is the right one.")
            );
            self.print.thumbnail(license.thumbnail);
            self.print.marks(cards.marks(license, license.next_copy));
            self.print.files(cards.isOwnFile(license) ? license.files : []);
            self.print.file(license.files.length ? license.files[0].path : undefined);
            self.print.action = function () {
                var body = {copy: license.next_copy};
                if (cards.isOwnFile(license)) body.file = self.print.file();
                post("licenses/" + license.id + "/print", body).done(followJob);
            };
            open("#imprimatur_confirm");
        };

        self.askToPrintAgain = function (job) {
            self.print.title(tab.jobTitle(job));
            self.print.text(_.sprintf(gettext("This prints copy %(copy)d of %(copies)d, which is paid already."), job));
            self.print.detail(gettext("No further copy is used."));
            self.print.thumbnail(tab.thumbnailOf(job));
            self.print.marks([]);
            self.print.files([]);
            self.print.action = function () {
                post("jobs/" + job.id + "/print", {}).done(followJob);
            };
            open("#imprimatur_confirm");
        };

        self.failure = {
            title: ko.observable(""),
            text: ko.observable(""),
            reasons: imprimatur.failures(),
            reason: ko.observable(),
            note: ko.observable(""),
            go: function () {
                if (!self.failure.reason()) return;
                $("#imprimatur_failure").modal("hide");
                self.failure.action();
            }
        };
        self.failure.room = ko.pureComputed(function () {
            return _.sprintf(gettext("%(left)d characters left"), {left: MOST_NOTE - self.failure.note().length});
        });

        self.askToReport = function (job) {
            self.failure.title(tab.jobTitle(job));
            self.failure.text(_.sprintf(gettext("This reports to the chain that copy %(copy)d failed."), job));
            self.failure.reason(undefined);
            self.failure.note("");
            self.failure.action = function () {
                post("jobs/" + job.id + "/failure", {reason: self.failure.reason(), note: self.failure.note()});
            };
            open("#imprimatur_failure");
        };
    };
})();
