/* The tab and the settings of licensed jobs. */
$(function () {
    "use strict";

    var TAB = "#tab_plugin_imprimatur";
    var REFRESH_MS = 30000;
    var url = function (path) {
        return OctoPrint.getBlueprintUrl("imprimatur") + path;
    };

    /* A message of the server in the operator's language; values may be messages themselves. */
    function tell(message) {
        if (!message) return "";
        var values = _.mapValues(message.values, function (value) {
            return _.isObject(value) ? tell(value) : value;
        });
        return _.sprintf(gettext(message.text), values);
    }

    function notify(title, text, type) {
        new PNotify({title: title, text: text, type: type, title_escape: true, text_escape: true});
    }

    function showRefusal(xhr) {
        var answer = xhr.responseJSON;
        var text = answer && answer.reason ? tell(answer.reason) : gettext("OctoPrint didn't answer. Nothing was started. Try again.");
        notify(gettext("Refused"), text, "error");
    }

    function shortened(address) {
        return address ? address.slice(0, 8) + "…" + address.slice(-6) : "";
    }

    /* With the decimal mark of the operator's language. */
    function decimal(number, digits) {
        return number.toLocaleString(LOCALE.replace("_", "-"), {maximumFractionDigits: digits});
    }

    function duration(seconds) {
        var minutes = Math.max(1, Math.round(seconds / 60));
        var hours = Math.floor(minutes / 60);
        if (!hours) return _.sprintf(gettext("%(minutes)d min"), {minutes: minutes});
        return _.sprintf(gettext("%(hours)d h %(minutes)d min"), {hours: hours, minutes: minutes % 60});
    }

    function ImprimaturViewModel(parameters) {
        var self = this;
        self.loginState = parameters[0];
        self.access = parameters[1];
        self.printerState = parameters[2];

        self.loaded = ko.observable(false);
        self.loading = ko.observable(false);
        self.problem = ko.observable();
        self.portalProblem = ko.observable();
        self.address = ko.observable();
        self.licenses = ko.observableArray([]);
        self.jobs = ko.observableArray([]);
        self.tabShown = ko.observable(false);
        self.tell = tell;

        self.shortAddress = ko.pureComputed(function () {
            return shortened(self.address());
        });

        /* Jobs by what they ask of the operator */
        self.running = ko.pureComputed(function () {
            return self.jobs().filter(function (job) {
                return job.underway;
            });
        });
        self.waiting = ko.pureComputed(function () {
            return self.jobs().filter(function (job) {
                return job.ready;
            });
        });
        self.endings = ko.pureComputed(function () {
            return self.jobs().filter(function (job) {
                return job.final && !job.dismissed && job.message;
            }).slice(0, 3);
        });
        self.copyWaits = function (license) {
            return self.waiting().some(function (job) {
                return job.license_id === license.id;
            });
        };

        self.mayPrint = ko.pureComputed(function () {
            return self.loginState.hasPermission(self.access.permissions.PLUGIN_IMPRIMATUR_PRINT);
        });
        self.hint = ko.pureComputed(function () {
            if (!self.mayPrint()) {
                return gettext("You may look, but not print: your account lacks the permission.");
            }
            var hasPrinter = self.running().some(function (job) {
                return job.active || job.state === "ARMED" || job.state === "PRINTING";
            });
            if (hasPrinter) return gettext("A licensed job is under way.");
            if (!self.printerState.isOperational()) return gettext("Connect the printer to print.");
            if (!self.printerState.isReady()) return gettext("The printer is busy.");
            return "";
        });
        self.canPrint = ko.pureComputed(function () {
            return !self.hint() && !self.problem();
        });

        /* Words */
        self.title = function (license) {
            return license.name || gettext("unnamed file");
        };
        self.numberText = function (license) {
            return _.sprintf(gettext("No. %(number)s"), {number: license.number || "0x…" + license.id.slice(-12)});
        };
        self.leftText = function (license) {
            return _.sprintf(gettext("%(remaining)d of %(copies)d copies left"), license);
        };
        self.jobTitle = function (job) {
            return job.name || _.sprintf(gettext("Job %(id)s"), {id: job.id});
        };
        self.copyText = function (job) {
            var number = job.number ? _.sprintf(gettext("No. %(number)s"), job) : "";
            var copy = job.copy ? _.sprintf(gettext("copy %(copy)d of %(copies)d"), job) : "";
            return _.compact([number, copy]).join(" · ");
        };
        self.facts = function (license) {
            var facts = [];
            var add = function (icon, text, title) {
                facts.push({icon: icon, text: text, title: title});
            };
            if (license.print_time) add("fa-clock", duration(license.print_time), gettext("Print time"));
            if (license.material) add("fa-tint", license.material, gettext("Material"));
            if (license.filament) add("fa-weight", decimal(license.filament, 1) + " g", gettext("Filament"));
            if (license.layer_height) add("fa-layer-group", decimal(license.layer_height, 2) + " mm", gettext("Layer height"));
            if (license.size) add("fa-file", formatSize(license.size), gettext("Size"));
            if (license.valid_until) {
                var until = new Date(license.valid_until * 1000).toLocaleDateString();
                add("fa-calendar", _.sprintf(gettext("until %(date)s"), {date: until}), gettext("Valid until"));
            }
            return facts;
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

        /* Steps: a paid copy that is fetched again has all of them behind it but the first and the last. */
        var STEPS = {PICKED: 0, DOWNLOADED: 1, VERIFIED: 2, SIGNED: 2, SENT: 2, CONSUMED: 4, KEYED: 5, ARMED: 5, PRINTING: 5};
        var ICONS = ["fa-download", "fa-fingerprint", "fa-link", "fa-cubes", "fa-key", "fa-print"];
        self.steps = function (job) {
            var now = job.state === "SENT" && job.message && job.message.key === "not_final" ? 3 : STEPS[job.state];
            var names = [gettext("Download"), gettext("Verify"), gettext("Consume"), gettext("Final"), gettext("Key"), gettext("Print")];
            return names.map(function (name, index) {
                return {
                    name: name,
                    kind: index < now ? "imp-done" : index === now ? "imp-now" : "",
                    current: index === now ? "step" : null,
                    icon: index < now ? "fa-check" : ICONS[index]
                };
            });
        };
        self.fraction = function (job) {
            if (job.state === "PRINTING") return (self.printerState.progress() || 0) / 100;
            return job.progress;
        };
        self.percent = function (job) {
            var fraction = self.fraction(job);
            return fraction === null ? 100 : Math.round(100 * fraction);
        };
        self.stepText = function (job) {
            if (job.message && ["KEYED", "ARMED", "PRINTING"].indexOf(job.state) < 0) return tell(job.message);
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

        /* Reading */
        self.refresh = function (fresh) {
            if (!self.loginState.hasPermission(self.access.permissions.STATUS)) return;
            self.loading(true);
            OctoPrint.get(url("licenses" + (fresh ? "?fresh=true" : "")))
                .done(function (answer) {
                    self.problem(answer.problem);
                    self.portalProblem(answer.portal_problem);
                    self.address(answer.address);
                    self.licenses(answer.licenses);
                    self.loaded(answer.loaded);
                })
                .always(function () {
                    self.loading(false);
                });
            OctoPrint.get(url("jobs")).done(function (answer) {
                self.jobs(answer.jobs);
            });
        };
        self.updateJob = function (job) {
            var others = self.jobs().filter(function (other) {
                return other.id !== job.id;
            });
            others.push(job);
            self.jobs(_.sortBy(others, "created").reverse());
        };

        /* Doing */
        self.confirm = {
            title: ko.observable(),
            text: ko.observable(),
            detail: ko.observable(),
            verb: ko.observable(),
            icon: ko.observable(),
            action: null,
            go: function () {
                $("#imprimatur_confirm").modal("hide");
                self.confirm.action();
            }
        };
        function askFor(title, text, detail, action, verb, icon) {
            self.confirm.title(title);
            self.confirm.text(text);
            self.confirm.detail(detail);
            self.confirm.verb(verb || gettext("Print"));
            self.confirm.icon(icon || "fa-print");
            self.confirm.action = action;
            $("#imprimatur_confirm").modal("show");
        }
        function post(path, body) {
            return OctoPrint.postJson(url(path), body)
                .done(function (answer) {
                    if (answer && answer.job) self.updateJob(answer.job);
                })
                .fail(function (xhr) {
                    showRefusal(xhr);
                    self.refresh(true);
                });
        }
        self.ask = function (license) {
            askFor(
                self.title(license),
                _.sprintf(gettext("This uses copy %(next_copy)d of %(copies)d."), license),
                gettext("The file is downloaded and checked first. A copy is only used when it is the right one."),
                function () {
                    post("licenses/" + license.id + "/print", {copy: license.next_copy});
                }
            );
        };
        self.askAgain = function (job) {
            askFor(
                self.jobTitle(job),
                _.sprintf(gettext("This prints copy %(copy)d of %(copies)d, which is paid already."), job),
                gettext("No further copy is used."),
                function () {
                    post("jobs/" + job.id + "/print", {});
                }
            );
        };
        self.askToReport = function (job) {
            askFor(
                self.jobTitle(job),
                _.sprintf(gettext("This reports to the chain that copy %(copy)d failed."), job),
                gettext("Within its free failures the license gives the copy back, and it can be printed once more. The report is public and can't be taken back."),
                function () {
                    post("jobs/" + job.id + "/failure", {});
                },
                gettext("Report failure"),
                "fa-exclamation-triangle"
            );
        };
        self.withdraw = function (job) {
            post("jobs/" + job.id + "/withdraw", {});
        };
        self.dismiss = function (job) {
            OctoPrint.postJson(url("jobs/" + job.id + "/dismiss"), {}).done(function () {
                self.jobs.remove(job);
            });
        };

        /* OctoPrint's calls */
        self.onTabChange = function (current) {
            self.tabShown(current === TAB);
            if (current === TAB) self.refresh(false);
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
            else if (data.type === "refused") notify(gettext("Refused"), tell(data.message), "error");
        };
        self.onStartupComplete = function () {
            self.tabShown(OctoPrint.coreui.selectedTab === TAB);
            self.refresh(false);
            window.setInterval(function () {
                if (self.tabShown() && !document.hidden) self.refresh(false);
            }, REFRESH_MS);
        };
    }

    function ImprimaturSettingsViewModel(parameters) {
        var self = this;
        self.settings = parameters[0];
        self.imprimatur = parameters[1];
        self.address = self.imprimatur.address;
        self.checks = ko.observableArray([]);
        self.checking = ko.observable(false);
        self.fine = gettext("answers as it should");
        self.tell = tell;
        self.own = function () {
            return self.settings.settings.plugins.imprimatur;
        };
        self.partName = function (part) {
            return {
                node: gettext("Node"),
                contract: gettext("License contract"),
                portal: gettext("Portal"),
                desk: gettext("Key desk")
            }[part];
        };
        self.check = function () {
            self.checking(true);
            self.checks([]);
            OctoPrint.postJson(url("check"), ko.mapping.toJS(self.own()))
                .done(function (answer) {
                    self.checks(answer.checks);
                    self.address(answer.address);
                })
                .fail(showRefusal)
                .always(function () {
                    self.checking(false);
                });
        };
        self.onSettingsHidden = function () {
            self.checks([]);
        };
    }

    OCTOPRINT_VIEWMODELS.push({
        construct: ImprimaturViewModel,
        dependencies: ["loginStateViewModel", "accessViewModel", "printerStateViewModel"],
        elements: [TAB]
    });
    OCTOPRINT_VIEWMODELS.push({
        construct: ImprimaturSettingsViewModel,
        dependencies: ["settingsViewModel", "imprimaturViewModel"],
        elements: ["#settings_plugin_imprimatur"]
    });
});
