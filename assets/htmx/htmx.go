// Package htmx is htmx 4.0.1 and its extension for server-sent events, byte
// for byte as published on npm (package htmx.org, dist/htmx.min.js and
// dist/ext/hx-sse.min.js), under the licence beside them. A test holds their
// SHA-256.
//
// It is a package of its own so that the sandbox has htmx without the
// application's assets.
package htmx

import _ "embed"

// Script is htmx itself.
//
//go:embed htmx.min.js
var Script string

// SSE is what lets htmx swap in what a server tells by and by. It stands on a
// page after Script.
//
//go:embed hx-sse.min.js
var SSE string
