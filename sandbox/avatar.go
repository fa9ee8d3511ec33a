package sandbox

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"path"
	"strings"
)

// avatarSizes are X's variants of a profile image ("User profile images and banners"), by the end of the file's name, with their sides in pixels.
var avatarSizes = map[string]int{"_mini": 24, "_normal": 48, "_bigger": 73, "": 400}

func avatarPath(id, suffix string) string { return "/sandbox/avatars/" + id + suffix + ".png" }

// avatar answers with the picture of an account.
func (s *Server) avatar(w http.ResponseWriter, r *http.Request) (string, error) {
	id, suffix, _ := strings.Cut(strings.TrimSuffix(path.Base(r.URL.Path), ".png"), "_")
	if suffix != "" {
		suffix = "_" + suffix
	}
	side, sized := avatarSizes[suffix]
	s.mu.Lock()
	known := s.account(id) != nil
	s.mu.Unlock()
	if !sized || !known || r.URL.Path != avatarPath(id, suffix) {
		return "", errPage
	}
	return avatar(id, side)(w, r)
}

// avatar answers with a square picture that is always the same for seed: five by five fields, mirrored, in one of many colours.
func avatar(seed string, side int) handler {
	sum := sha256.Sum256([]byte(seed))
	ink := color.RGBA{40 + sum[20]/2, 40 + sum[21]/2, 40 + sum[22]/2, 255}
	return func(w http.ResponseWriter, r *http.Request) (string, error) {
		img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.RGBA{239, 231, 216, 255}, ink})
		for y := range side {
			for x := range side {
				row, column := y*5/side, x*5/side
				column = min(column, 4-column)
				img.SetColorIndex(x, y, sum[row*3+column]&1)
			}
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			return "", err
		}
		answer(w, http.StatusOK, "image/png", b.String())
		return "sent", nil
	}
}
