// Package e2e shows that Perch works, from the outside: its tests build the
// program and walk it, over the wire and in a real browser. They hold the
// architecture to its table, too.
//
// Nothing here skips. Without Chromium the browser's tests fail, and say how
// to install it.
package e2e
