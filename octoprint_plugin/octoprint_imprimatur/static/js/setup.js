/* Setting up: the printer's key, its portal, the gate. The same steps in the first-run wizard and the settings. */
$(function () {
    "use strict";

    var imprimatur = window.Imprimatur;
    var tell = imprimatur.tell;
    var url = imprimatur.url;
    var WIZARD = "wizard_plugin_imprimatur_";
    var LAST_PAGE = WIZARD + "5";
    /* So long after an answer OctoPrint may still tell that settings have changed. */
    var NEWS_MS = 2000;

    /* A QR code of a portal is JSON; people paste that too. */
    function readTicket(text) {
        try {
            var ticket = JSON.parse(text);
            return ticket && ticket.imprimatur && ticket.invitation ? ticket : null;
        } catch (error) {
            return null;
        }
    }

    function ImprimaturSetupViewModel(parameters) {
        var self = this;
        self.loginState = parameters[0];
        self.access = parameters[1];
        self.settings = parameters[2];

        self.setup = ko.observable(null);
        self.busy = ko.observable("");
        self.troubles = {
            key: ko.observable(""),
            invitation: ko.observable(""),
            policy: ko.observable(""),
            hooks: ko.observable("")
        };
        self.tell = tell;
        self.moment = imprimatur.moment;
        self.policyName = imprimatur.policyName;

        function part(name) {
            return ko.pureComputed(function () {
                return self.setup() ? self.setup()[name] : null;
            });
        }
        self.key = part("key");
        self.portal = part("portal");
        self.gate = part("gate");
        self.done = part("done");
        self.foreignHooks = part("foreign_hooks");
        self.address = ko.pureComputed(function () {
            return self.key() ? self.key().address : null;
        });
        self.fingerprint = ko.pureComputed(function () {
            return self.key() ? self.key().fingerprint : null;
        });
        self.policy = ko.pureComputed(function () {
            return self.gate() ? self.gate().policy : "licensed_only";
        });
        self.gateProblem = ko.pureComputed(function () {
            return self.gate() && !self.gate().ok ? self.gate().problem : null;
        });
        self.keyProblem = ko.pureComputed(function () {
            return self.key() && self.key().state === "unusable" ? self.key().problem : null;
        });
        self.mayManage = ko.pureComputed(function () {
            return self.loginState.hasPermission(self.access.permissions.PLUGIN_IMPRIMATUR_MANAGE);
        });

        self.own = function () {
            return self.settings.settings.plugins.imprimatur;
        };

        /* Talking to the plugin */
        self.refresh = function () {
            if (!self.loginState.hasPermission(self.access.permissions.STATUS)) return $.Deferred().reject();
            return OctoPrint.get(url("setup")).done(show);
        };
        function show(setup) {
            self.setup(setup);
            self.policyChoice(setup.gate.policy);
            self.trustedHooks(setup.trusted_hooks.slice());
            self.keyStore(setup.key.store);
            if (!self.nodeUrl()) self.nodeUrl(setup.node_url || "");
        }
        /* One request at a time; what went wrong stands beside the button that sent it. */
        var saving = 0;
        function post(what, path, body) {
            self.busy(what);
            self.troubles[what]("");
            saving += 1;
            return OctoPrint.postJson(url(path), body)
                .done(function (answer) {
                    if (!answer.setup) return;
                    show(answer.setup);
                    readOwn();
                })
                .fail(function (xhr) {
                    self.troubles[what](imprimatur.whyFailed(xhr));
                })
                .always(function () {
                    self.busy("");
                    window.setTimeout(function () {
                        saving -= 1;
                    }, NEWS_MS);
                });
        }
        /* Our fields show what was saved; those of others keep what was typed into them. */
        function readOwn() {
            OctoPrint.settings.get().done(function (answer) {
                ko.mapping.fromJS(answer.plugins.imprimatur, self.own());
            });
        }
        /* OctoPrint would take our own change for somebody else's and ask whether to throw away what was typed. */
        self.onSettingsPreventRefresh = function () {
            return saving > 0;
        };

        /* Key */
        self.keyStore = ko.observable("keystore");
        self.token = {
            module: ko.observable(""),
            token: ko.observable(""),
            label: ko.observable(""),
            pin: ko.observable(""),
            create: ko.observable(false)
        };
        self.changesKey = ko.pureComputed(function () {
            return !!self.key() && (self.keyStore() === "pkcs11" || self.key().store !== self.keyStore());
        });
        self.useKey = function () {
            var body = {store: self.keyStore()};
            if (body.store === "pkcs11") _.extend(body, ko.toJS(self.token));
            post("key", "setup/key", body).done(function () {
                self.token.pin("");
            });
        };

        /* Portal */
        self.invitation = ko.observable("");
        self.portalUrl = ko.observable("");
        self.nodeUrl = ko.observable("");
        self.wallet = ko.observable("");
        self.preview = ko.observable(null);
        self.wantsNewPortal = ko.observable(false);
        self.showsInvitation = ko.pureComputed(function () {
            return !self.portal() || self.wantsNewPortal();
        });
        self.invitation.subscribe(function (text) {
            self.preview(null);
            self.troubles.invitation("");
            var ticket = readTicket(text);
            if (!ticket) return;
            self.portalUrl(ticket.portal || "");
            self.invitation(ticket.invitation);
        });
        self.portalUrl.subscribe(function () {
            self.preview(null);
        });
        self.isLink = ko.pureComputed(function () {
            return /^\s*https?:\/\//i.test(self.invitation());
        });
        function wishes() {
            var body = {invitation: self.invitation().trim()};
            if (self.portalUrl().trim()) body.portal_url = self.portalUrl().trim();
            return body;
        }
        self.look = function () {
            post("invitation", "setup/invitation", wishes()).done(function (answer) {
                self.preview(answer.portal);
                _.defer(function () {
                    $(".imp-node:visible input").first().focus();
                });
            });
        };
        self.enrol = function () {
            var body = wishes();
            body.portal_url = self.preview().url;
            body.node_url = self.nodeUrl().trim();
            if (self.wallet().trim()) body.wallet = self.wallet().trim();
            post("invitation", "setup/enrol", body).done(function () {
                self.preview(null);
                self.invitation("");
                self.portalUrl("");
                self.wantsNewPortal(false);
            });
        };
        self.camera = new imprimatur.Camera(function (text) {
            self.invitation(text);
            if (self.portalUrl() || self.isLink()) self.look();
        });

        /* Gate. Both need the administrator's password, if that wasn't typed lately. */
        self.policyChoice = ko.observable("licensed_only");
        self.setPolicy = function () {
            self.loginState.reauthenticateIfNecessary(function () {
                post("policy", "setup/policy", {policy: self.policyChoice()}).fail(function () {
                    self.policyChoice(self.policy());
                });
            });
        };
        self.trustedHooks = ko.observableArray([]);
        self.hooksChanged = ko.pureComputed(function () {
            return !!self.setup() && !_.isEqual(self.trustedHooks().slice().sort(), self.setup().trusted_hooks.slice().sort());
        });
        self.setTrustedHooks = function () {
            self.loginState.reauthenticateIfNecessary(function () {
                post("hooks", "setup/trusted_hooks", {trusted_hooks: self.trustedHooks()});
            });
        };

        /* Connection test */
        self.checks = ko.observableArray([]);
        self.checking = ko.observable(false);
        self.fine = gettext("answers as it should");
        self.partName = function (name) {
            return {
                node: gettext("Node"),
                contract: gettext("License contract"),
                portal: gettext("Portal"),
                desk: gettext("Key desk")
            }[name];
        };
        self.allFine = ko.pureComputed(function () {
            return self.checks().length > 0 && !_.some(self.checks(), "problem");
        });
        function check(settings) {
            self.checking(true);
            self.checks([]);
            OctoPrint.postJson(url("check"), settings)
                .done(function (answer) {
                    self.checks(answer.checks);
                })
                .fail(imprimatur.showRefusal)
                .always(function () {
                    self.checking(false);
                });
        }
        /* In the settings what stands in the fields is tried, in the wizard what is stored. */
        self.check = function () {
            check(ko.mapping.toJS(self.own()));
        };
        self.checkStored = function () {
            check({});
        };

        self.openSettings = function () {
            self.settings.show("settings_plugin_imprimatur");
        };
        self.copyAddress = function () {
            copyToClipboard(self.address());
        };

        /* OctoPrint's calls */
        self.onStartupComplete = self.onUserLoggedIn = self.onUserLoggedOut = self.onDataUpdaterReconnect = function () {
            self.refresh();
        };
        self.onDataUpdaterPluginMessage = function (plugin, data) {
            if (plugin === "imprimatur" && data.type === "setup") self.refresh();
        };
        self.onSettingsShown = function () {
            imprimatur.followTheme();
            self.refresh();
        };
        self.onSettingsHidden = function () {
            self.checks([]);
            self.camera.stop();
            self.token.pin("");
        };
        self.onWizardShow = self.onSettingsShown;
        self.onBeforeWizardTabChange = function () {
            self.camera.stop();
        };
        self.onAfterWizardTabChange = function (current) {
            if (!_.startsWith(current, WIZARD)) return;
            var shown = self.refresh();
            if (current === LAST_PAGE + "_link" || current === LAST_PAGE) {
                shown.done(function () {
                    if (self.done()) self.checkStored();
                });
            }
        };
    }

    OCTOPRINT_VIEWMODELS.push({
        construct: ImprimaturSetupViewModel,
        dependencies: ["loginStateViewModel", "accessViewModel", "settingsViewModel"],
        elements: ["#settings_plugin_imprimatur"].concat(
            _.range(1, 6).map(function (page) {
                return "#" + WIZARD + page;
            })
        )
    });
});
