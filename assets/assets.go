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
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/css"
	"github.com/tdewolff/minify/v2/js"

	"perch/assets/htmx"
)

// Prefix is the path that all assets are under.
const Prefix = "/assets/"

//go:embed app.css app.js popup.js icon.svg icon.png
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
	packed      func() packed
}

// packed is an asset as browsers like it, by content coding.
type packed struct{ brotli, gzip []byte }

var byURL = map[string]Asset{}

// load reads an embedded file. Our own scripts and styles go out without their
// comments, which are for those who read the source.
func load(name, contentType string) Asset {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the compiler embedded it
	}
	return keep(name, contentType, minified(content, contentType))
}

// keep makes an asset of what is ready to go out.
func keep(name, contentType string, content []byte) Asset {
	hash := sha256.Sum256(content)
	ext := path.Ext(name)
	a := Asset{
		URL:         Prefix + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(hash[:6]) + ext,
		Integrity:   "sha256-" + base64.StdEncoding.EncodeToString(hash[:]),
		contentType: contentType,
		plain:       content,
		packed:      sync.OnceValue(func() packed { return pack(content) }),
	}
	byURL[a.URL] = a
	return a
}

func minified(content []byte, contentType string) []byte {
	m := minify.New()
	m.AddFunc("text/css", css.Minify)
	m.AddFunc("text/javascript", js.Minify)
	short, err := m.Bytes(contentType, content)
	if errors.Is(err, minify.ErrNotExist) {
		return content // an image
	}
	if err != nil {
		panic(err) // a mistake in the file, which every test finds
	}
	return short
}

// The best packing takes a while: it is done beside the start, and who asks
// earlier waits for it.
func init() {
	go func() {
		for _, a := range byURL {
			a.packed()
		}
	}()
}

func pack(content []byte) packed {
	var b, z bytes.Buffer
	brotliWriter := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: brotli.BestCompression, LGWin: 16}) // a larger window takes memory, and saves nothing
	brotliWriter.Write(content)
	brotliWriter.Close()
	gzipWriter, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		panic(err) // only for an unknown level
	}
	gzipWriter.Write(content)
	gzipWriter.Close()
	return packed{b.Bytes(), z.Bytes()}
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
	case Takes(accept, "br"):
		h.Set("Content-Encoding", "br")
		content = a.packed().brotli
	case Takes(accept, "gzip"):
		h.Set("Content-Encoding", "gzip")
		content = a.packed().gzip
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
