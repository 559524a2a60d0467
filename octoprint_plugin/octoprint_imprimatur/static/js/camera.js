/* Reads an invitation's QR code by the camera or from a photo, where the browser can find codes in pictures. */
(function () {
    "use strict";

    var imprimatur = (window.Imprimatur = window.Imprimatur || {});
    var LOOK_EVERY_MS = 250;

    /* `found` is given the text of the first code. */
    imprimatur.Camera = function (found) {
        var self = this;
        var detector = null;
        var stream = null;

        self.canRead = ko.observable(false);
        self.canFilm = ko.observable(false);
        self.filming = ko.observable(false);
        self.trouble = ko.observable("");

        if ("BarcodeDetector" in window) {
            window.BarcodeDetector.getSupportedFormats().then(function (formats) {
                if (formats.indexOf("qr_code") < 0) return;
                detector = new window.BarcodeDetector({formats: ["qr_code"]});
                self.canRead(true);
                self.canFilm(!!(navigator.mediaDevices && navigator.mediaDevices.getUserMedia));
            });
        }

        function accept(codes) {
            if (!codes.length) return false;
            self.stop();
            self.trouble("");
            found(codes[0].rawValue);
            return true;
        }

        self.stop = function () {
            if (stream) {
                stream.getTracks().forEach(function (track) {
                    track.stop();
                });
            }
            stream = null;
            self.filming(false);
        };

        /* `button` stands in the page whose video element shows what the camera sees. */
        self.start = function (_context, event) {
            var video = $(event.currentTarget).closest(".imp-scan").find("video")[0];
            self.trouble("");
            navigator.mediaDevices
                .getUserMedia({video: {facingMode: "environment"}})
                .then(function (opened) {
                    stream = opened;
                    self.filming(true);
                    video.srcObject = stream;
                    return video.play().then(look);
                })
                .catch(function () {
                    self.stop();
                    self.trouble(gettext("The camera can't be used. Choose a photo of the code, or paste the invitation."));
                });

            function look() {
                if (!stream) return;
                detector.detect(video).then(accept, _.constant(false)).then(function (done) {
                    if (!done) window.setTimeout(look, LOOK_EVERY_MS);
                });
            }
        };

        self.readPhoto = function (_context, event) {
            var file = event.target.files[0];
            event.target.value = "";
            if (!file) return;
            self.trouble("");
            window
                .createImageBitmap(file)
                .then(function (picture) {
                    return detector.detect(picture);
                })
                .then(accept, _.constant(false))
                .then(function (done) {
                    if (!done) self.trouble(gettext("There is no code in this picture. Take it closer and sharper, or paste the invitation."));
                });
        };
    };
})();
