package assets_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"perch/assets"
	"perch/assets/htmx"
)

func TestServe(t *testing.T) {
	for _, test := range []struct{ name, method, accept, wantEncoding string }{
		{"to those who take everything", http.MethodGet, "gzip, deflate, br, zstd", "br"},
		{"to those who take gzip", http.MethodGet, "gzip, deflate", "gzip"},
		{"to those who take nothing", http.MethodGet, "", ""},
		{"to those who refuse gzip", http.MethodGet, "gzip;q=0, deflate", ""},
		{"to those who refuse gzip at length", http.MethodGet, "br;q=0, gzip; q=0.000", ""},
		{"to those who like it less", http.MethodGet, "deflate;q=1.0, GZIP;q=0.2", "gzip"},
		{"not to x-gzip's friends", http.MethodGet, "gzipped", ""},
		{"the head alone", http.MethodHead, "gzip", "gzip"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !assets.Serve(w, r) {
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+assets.HTMX.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Encoding", test.accept)
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			for header, want := range map[string]string{
				"Content-Type": "text/javascript; charset=utf-8", "Content-Encoding": test.wantEncoding,
				"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding",
			} {
				if got := answer.Header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if test.method == http.MethodHead {
				if answer.ContentLength <= 0 || len(body) != 0 {
					t.Errorf("HEAD: length %d, body %d bytes", answer.ContentLength, len(body))
				}
				return
			}
			if got := answer.Header.Get("Content-Length"); got != strconv.Itoa(len(body)) {
				t.Errorf("Content-Length %s for %d bytes", got, len(body))
			}
			if unzip(t, body, test.wantEncoding) != htmx.Script {
				t.Error("the content is not the file's")
			}
		})
	}
}

func unzip(t testing.TB, body []byte, encoding string) string {
	t.Helper()
	if encoding == "" {
		return string(body)
	}
	if encoding == "br" {
		plain, err := io.ReadAll(brotli.NewReader(bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		return string(plain)
	}
	z, err := gzip.NewReader(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestServeKnowsItsOwnPathsOnly(t *testing.T) {
	for _, path := range []string{"/assets/", "/assets/app.css", "/assets/app.000000000000.css", "/assets/../main.go", "/assets/assets.go", assets.CSS.URL + "/", "/x" + assets.CSS.URL} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		if w := httptest.NewRecorder(); assets.Serve(w, r) || w.Body.Len() > 0 {
			t.Errorf("%s is answered", path)
		}
	}
}
