// Package assets holds what the browser loads besides pages: the stylesheet,
// the scripts and the icons, inside the binary.
//
// A name carries a hash of the content, so an answer may be kept for ever and
// a changed file is a new one. Each file is a variable: a wrong name does not
// compile.
package assets

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"perch/assets/htmx"
)

// Prefix is the path that all assets are under.
const Prefix = "/assets/"

//go:generate go run ./pack

//go:embed app.css app.js popup.js icon.svg icon.png packed
var files embed.FS

// What pages may refer to.
var (
	CSS     = load("app.css", "text/css; charset=utf-8")
	App     = load("app.js", "text/javascript; charset=utf-8")
	Popup   = load("popup.js", "text/javascript; charset=utf-8")
	HTMX    = keep("htmx.min.js", "text/javascript; charset=utf-8", []byte(htmx.Script))
	Icon    = load("icon.svg", "image/svg+xml")
	Picture = load("icon.png", "image/png") // 512 by 512 pixels
)

// Asset is one file.
type Asset struct {
	URL       string // path, with a hash of the content in the name
	Integrity string // for the attribute of that name (W3C Subresource Integrity)

	contentType string
	plain       []byte
	brotli      []byte // nil for none
	gzip        []byte // nil for none
}

var byURL = map[string]Asset{}

// load reads an embedded file.
func load(name, contentType string) Asset {
	return keep(name, contentType, read(name))
}

// keep makes an asset of a file, packed if it is the one that was packed. One
// that was changed since goes out as it is, so that `go run .` shows a change;
// a test remembers to pack it.
func keep(name, contentType string, source []byte) Asset {
	a, hash := Asset{contentType: contentType, plain: source}, sha256.Sum256(source)
	if strings.Contains(sums, fmt.Sprintf("%x  %s\n", hash, name)) {
		if short, err := files.ReadFile("packed/" + name); err == nil {
			a.plain, hash = short, sha256.Sum256(short)
		}
		a.brotli, a.gzip = read("packed/"+name+".br"), read("packed/"+name+".gz")
	}
	ext := path.Ext(name)
	a.URL = Prefix + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(hash[:6]) + ext
	a.Integrity = "sha256-" + base64.StdEncoding.EncodeToString(hash[:])
	byURL[a.URL] = a
	return a
}

// sums says which sources were packed, as sha256sum writes it.
var sums = string(read("packed/SHA256SUMS"))

func read(name string) []byte {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the compiler embedded it, and a test knows that pack made the rest
	}
	return content
}

// Serve answers a GET or HEAD for an asset, compressed for those who take it,
// and returns false when the path is not one of an asset.
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
	switch accept := r.Header.Get("Accept-Encoding"); {
	case a.brotli != nil && Takes(accept, "br"):
		h.Set("Content-Encoding", "br")
		content = a.brotli
	case a.gzip != nil && Takes(accept, "gzip"):
		h.Set("Content-Encoding", "gzip")
		content = a.gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	w.Write(content) // net/http drops it for HEAD
	return true
}

// Takes tells whether an Accept-Encoding (RFC 9110 §12.5.3) names the content
// coding, with a weight above zero.
func Takes(accept, coding string) bool {
	for _, part := range strings.Split(accept, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			weight, given := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			return !given || strings.Trim(weight, "0.") != ""
		}
	}
	return false
}
