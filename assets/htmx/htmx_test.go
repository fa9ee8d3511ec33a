package htmx_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"perch/assets/htmx"
)

// What was vendored is what was published with htmx.org@4.0.1.
func TestHTMXIsTheOneWeVendored(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"htmx.min.js", htmx.Script, "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"},
		{"hx-sse.min.js", htmx.SSE, "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103"},
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256([]byte(tt.content))); got != tt.want {
			t.Errorf("%s has the SHA-256 %s, want %s", tt.name, got, tt.want)
		}
	}
	if !strings.Contains(htmx.Script, `version="4.0.1"`) {
		t.Error("it does not call itself 4.0.1")
	}
}
