/* The tab: licenses to print, the job under way, copies that wait. */
$(function () {
    "use strict";

    var imprimatur = window.Imprimatur;
    var cards = imprimatur.cards;
    var steps = imprimatur.steps;
    var tell = imprimatur.tell;
    var url = imprimatur.url;

    var TAB = "#tab_plugin_imprimatur";
    var REFRESH_MS = 30000;
    var MOST_NOTES = 3;

    function ImprimaturViewModel(parameters) {
        var self = this;
        self.loginState = parameters[0];
        self.access = parameters[1];
        self.printerState = parameters[2];
        self.setup = parameters[3];

        self.loaded = ko.observable(false);
        self.loading = ko.observable(false);
        self.readAt = ko.observable(0);
        self.problem = ko.observable();
        self.portalProblem = ko.observable();
        self.licenses = ko.observableArray([]);
        self.jobs = ko.observableArray([]);
        self.tabShown = ko.observable(false);
        self.query = ko.observable("");
        self.showsAll = ko.observable(false);
        self.tell = tell;
        self.cards = cards;
        self.steps = steps;

        /* Lists hold observables; a card of the page is one of them. */
        function of(list, test) {
            return list().filter(function (item) {
                return test(item());
            });
        }

        /* Jobs by what they ask of the operator */
        function hasEnded(job) {
            return job.final && !job.dismissed && job.message;
        }
        function jobs(test) {
            return ko.pureComputed(function () {
                return of(self.jobs, test);
            });
        }
        self.running = jobs(function (job) {
            return job.underway;
        });
        self.waiting = jobs(function (job) {
            return job.ready;
        });
        /* Begun parts that came to nothing: the copy is used, and only the operator can say what happened. */
        self.interrupted = jobs(function (job) {
            return hasEnded(job) && job.reportable;
        });
        var ended = jobs(function (job) {
            return hasEnded(job) && !job.reportable;
        });
        self.endings = ko.pureComputed(function () {
            return ended().slice(0, MOST_NOTES);
        });
        self.toRecover = ko.pureComputed(function () {
            return self.waiting().concat(self.interrupted());
        });
        self.recoveryTitle = ko.pureComputed(function () {
            var waiting = self.waiting().length;
            if (!waiting) return gettext("A print didn't come to its end");
            return waiting === 1 ? gettext("A paid copy waits to be printed") : gettext("Paid copies wait to be printed");
        });
        self.copyWaits = function (license) {
            return self.waiting().some(function (job) {
                return job().license_id === license.id;
            });
        };
        self.thumbnailOf = function (job) {
            var license = _.find(self.licenses(), function (license) {
                return license().id === job.license_id;
            });
            return license ? license().thumbnail : null;
        };

        /* Licenses by what the operator looks for */
        self.printable = ko.pureComputed(function () {
            return of(self.licenses, cards.isReady);
        });
        self.shown = ko.pureComputed(function () {
            var query = self.query().trim();
            var others = self.showsAll() ? _.difference(self.licenses(), self.printable()) : [];
            return self.printable().concat(others).filter(function (license) {
                return !query || cards.matches(license(), query);
            });
        });
        self.notPrintable = ko.pureComputed(function () {
            return self.licenses().length - self.printable().length;
        });
        self.othersText = ko.pureComputed(function () {
            return _.sprintf(gettext("Can't be printed now: %(count)d"), {count: self.notPrintable()});
        });
        self.showReady = function () {
            self.showsAll(false);
        };
        self.showAll = function () {
            self.showsAll(true);
        };
        self.clearQuery = function () {
            self.query("");
        };

        /* What the page shows instead of cards */
        self.view = ko.pureComputed(function () {
            var setup = self.setup.setup();
            if (!setup) return self.problem() ? "cards" : "loading";
            if (!setup.done && !self.licenses().length) return "setup";
            if (!self.loaded()) return "loading";
            if (self.shown().length) return "cards";
            if (self.query().trim() && self.licenses().length) return "nothing_found";
            return self.problem() || self.running().length || self.toRecover().length ? "cards" : "empty";
        });
        self.staleText = ko.pureComputed(function () {
            if (!self.problem() || !self.licenses().length) return "";
            return gettext("What you see below may be out of date.");
        });

        self.mayPrint = ko.pureComputed(function () {
            return self.loginState.hasPermission(self.access.permissions.PLUGIN_IMPRIMATUR_PRINT);
        });
        self.mayReport = ko.pureComputed(function () {
            var report = self.access.permissions.PLUGIN_IMPRIMATUR_REPORT;
            return report ? self.loginState.hasPermission(report) : self.mayPrint();
        });
        self.hint = ko.pureComputed(function () {
            if (!self.mayPrint()) {
                return gettext("You may look, but not print: your account lacks the permission.");
            }
            if (self.setup.gateProblem()) return tell(self.setup.gateProblem());
            var hasPrinter = self.running().some(function (job) {
                return job().active || job().state === "ARMED" || job().state === "PRINTING";
            });
            if (hasPrinter) return gettext("A licensed job is under way.");
            if (!self.printerState.isOperational()) return gettext("Connect the printer to print.");
            if (!self.printerState.isReady()) return gettext("The printer is busy.");
            return "";
        });
        self.canPrint = ko.pureComputed(function () {
            return !self.hint() && !self.problem();
        });
        self.canPrintThis = function (license) {
            return self.canPrint() && !self.copyWaits(license) && !cards.lacksFile(license);
        };

        /* Words */
        self.jobTitle = function (job) {
            return job.name || _.sprintf(gettext("Job %(id)s"), {id: job.id});
        };
        self.copyText = function (job) {
            var number = job.number ? _.sprintf(gettext("No. %(number)s"), job) : "";
            var copy = job.copy ? _.sprintf(gettext("copy %(copy)d of %(copies)d"), job) : "";
            return _.compact([number, copy]).join(" · ");
        };
        self.endingKind = function (job) {
            return {FINISHED: "imp-note-good", FAILED: "imp-note-bad"}[job.state] || "imp-note-warn";
        };
        self.endingIcon = function (job) {
            return {FINISHED: "fa-check-circle", FAILED: "fa-exclamation-triangle"}[job.state] || "fa-info-circle";
        };
        self.endingTitle = function (job) {
            var outcome = {
                FINISHED: gettext("Printed"),
                FAILED: gettext("Print not completed"),
                ABANDONED: gettext("Not printed")
            }[job.state];
            return _.compact([outcome, self.jobTitle(job), job.number]).join(" · ");
        };
        self.fraction = function (job) {
            return steps.fraction(job, self.printerState.progress());
        };
        self.percent = function (job) {
            var fraction = self.fraction(job);
            return fraction === null ? 100 : Math.round(100 * fraction);
        };

        /* Reading */
        self.refresh = function (fresh) {
            if (!self.loginState.hasPermission(self.access.permissions.STATUS)) return;
            self.loading(true);
            OctoPrint.get(url("licenses" + (fresh ? "?fresh=true" : "")))
                .done(function (answer) {
                    self.problem(answer.problem);
                    self.portalProblem(answer.portal_problem);
                    imprimatur.update(self.licenses, answer.licenses);
                    self.readAt(answer.at);
                    self.loaded(answer.loaded);
                })
                .fail(function (xhr) {
                    if (xhr.responseJSON && xhr.responseJSON.reason) self.problem(xhr.responseJSON.reason);
                })
                .always(function () {
                    self.loading(false);
                });
            OctoPrint.get(url("jobs")).done(function (answer) {
                imprimatur.update(self.jobs, answer.jobs);
            });
        };
        self.refreshAll = function () {
            self.setup.refresh();
            self.refresh(true);
        };
        self.updateJob = function (job) {
            var others = self.jobs().map(ko.unwrap).filter(function (other) {
                return other.id !== job.id;
            });
            imprimatur.update(self.jobs, _.sortBy(others.concat(job), "created").reverse());
        };

        /* Doing */
        function post(path, body) {
            return OctoPrint.postJson(url(path), body)
                .done(function (answer) {
                    if (answer && answer.job) self.updateJob(answer.job);
                })
                .fail(function (xhr) {
                    imprimatur.showRefusal(xhr);
                    self.refresh(true);
                });
        }
        self.dialogs = new imprimatur.Dialogs(self, post);
        self.withdraw = function (job) {
            post("jobs/" + job.id + "/withdraw", {});
        };
        self.dismiss = function (job) {
            OctoPrint.postJson(url("jobs/" + job.id + "/dismiss"), {}).done(function () {
                self.jobs.remove(function (other) {
                    return other().id === job.id;
                });
            });
        };
        /* OctoPrint's own view of a job is the panel at the left. */
        self.showJobView = function () {
            $("#state").collapse("show");
            $("#state_wrapper")[0].scrollIntoView({behavior: "smooth", block: "center"});
            $("#state_wrapper a.accordion-toggle").first().focus();
        };
        self.openSettings = function () {
            self.setup.openSettings();
        };

        /* OctoPrint's calls */
        /* Its panel takes the size from the list of files, where only a placeholder lies. */
        self.fromCurrentData = function (data) {
            var file = data.job && data.job.file;
            var shown = self.printerState.filedata();
            if (!file || !shown || file.path !== shown.path || file.size === shown.size) return;
            if (/^licensed-[0-9a-f]+\.gcode$/.test(file.path)) {
                self.printerState.filedata(_.extend({}, shown, {size: file.size}));
            }
        };
        self.onTabChange = function (current) {
            self.tabShown(current === TAB);
            if (current === TAB) {
                imprimatur.followTheme();
                self.refresh(false);
            }
        };
        self.onUserLoggedIn = self.onUserLoggedOut = self.onEventConnected = self.onEventDisconnected = function () {
            self.refresh(false);
        };
        self.onDataUpdaterReconnect = function () {
            self.refresh(false);
        };
        self.onDataUpdaterPluginMessage = function (plugin, data) {
            if (plugin !== "imprimatur") return;
            if (data.type === "job") self.updateJob(data.job);
            else if (data.type === "licenses") self.refresh(false);
            else if (data.type === "refused") imprimatur.notify(gettext("Refused"), tell(data.message), "error");
        };
        self.setup.done.subscribe(function () {
            self.refresh(true);
        });
        self.onStartupComplete = function () {
            self.tabShown(OctoPrint.coreui.selectedTab === TAB);
            imprimatur.followTheme();
            window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", imprimatur.followTheme);
            self.refresh(false);
            window.setInterval(function () {
                if (self.tabShown() && !document.hidden) self.refresh(false);
            }, REFRESH_MS);
        };
    }

    OCTOPRINT_VIEWMODELS.push({
        construct: ImprimaturViewModel,
        dependencies: ["loginStateViewModel", "accessViewModel", "printerStateViewModel", "imprimaturSetupViewModel"],
        elements: [TAB]
    });
});
