// Package assets holds what the browser loads besides pages: the stylesheet,
// the scripts and the icons, inside the binary.
//
// A name carries a hash of the content, so an answer may be kept for ever and
// a changed file is a new one. Each file is a variable: a wrong name does not
// compile.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Prefix is the path that all assets are under.
const Prefix = "/assets/"

//go:embed app.css app.js htmx.min.js icon.svg
var files embed.FS

// What pages may refer to. htmx.min.js is htmx 4.0.1 as published on npm
// (package htmx.org, dist/htmx.min.js); a test holds its SHA-256.
var (
	CSS  = load("app.css", "text/css; charset=utf-8")
	App  = load("app.js", "text/javascript; charset=utf-8")
	HTMX = load("htmx.min.js", "text/javascript; charset=utf-8")
	Icon = load("icon.svg", "image/svg+xml")
)

// Asset is one file.
type Asset struct {
	URL       string // path, with a hash of the content in the name
	Integrity string // for the attribute of that name (W3C Subresource Integrity)

	contentType   string
	plain, zipped []byte
}

var byURL = map[string]Asset{}

// load reads an embedded file and packs it once, for all answers.
func load(name, contentType string) Asset {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the compiler embedded it
	}
	short, long := sha256.Sum256(content), sha512.Sum384(content)
	ext := path.Ext(name)
	a := Asset{
		URL:         Prefix + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(short[:6]) + ext,
		Integrity:   "sha384-" + base64.StdEncoding.EncodeToString(long[:]),
		contentType: contentType,
		plain:       content,
		zipped:      zip(content),
	}
	byURL[a.URL] = a
	return a
}

func zip(content []byte) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // only for an unknown level
	}
	z.Write(content)
	z.Close()
	return b.Bytes()
}

// Serve answers a GET or HEAD for an asset, compressed for those who take
// gzip, and returns false when the path is not one of an asset.
func Serve(w http.ResponseWriter, r *http.Request) bool {
	a, ok := byURL[r.URL.Path]
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	content := a.plain
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		content = a.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	w.Write(content) // net/http drops it for HEAD
	return true
}

// takesGzip reads an Accept-Encoding (RFC 9110 §12.5.3) as far as gzip goes.
func takesGzip(accept string) bool {
	for _, part := range strings.Split(accept, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			weight, given := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			return !given || strings.Trim(weight, "0.") != ""
		}
	}
	return false
}
