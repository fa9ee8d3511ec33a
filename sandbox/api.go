package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// verifyCredentials answers GET /1.1/account/verify_credentials.json: who signed this call, with the fields of X's v1.1 user object that mean something here.
func (s *Server) verifyCredentials(w http.ResponseWriter, r *http.Request) (string, error) {
	a, _, err := s.caller(r)
	if err != nil {
		return "", err
	}
	image := "http://" + r.Host + avatarPath(a.ID, "_normal")
	return "told", answerJSON(w, map[string]any{
		"id":                       json.Number(a.ID),
		"id_str":                   a.ID,
		"name":                     a.Name,
		"screen_name":              a.ScreenName,
		"description":              "",
		"location":                 "",
		"url":                      nil,
		"protected":                false,
		"verified":                 false,
		"suspended":                false,
		"needs_phone_verification": false,
		"followers_count":          0,
		"friends_count":            0,
		"statuses_count":           0,
		"created_at":               "Tue Mar 21 20:50:14 +0000 2006",
		"default_profile":          true,
		"default_profile_image":    false,
		"profile_image_url":        image,
		"profile_image_url_https":  image, // http here: the sandbox has no certificate
	})
}

// usersMe answers GET /2/users/me: id, name and username, and profile_image_url when user.fields asks for it. Other fields are passed over.
func (s *Server) usersMe(w http.ResponseWriter, r *http.Request) (string, error) {
	a, c, err := s.caller(r)
	if err != nil {
		return "", err
	}
	user := map[string]string{"id": a.ID, "name": a.Name, "username": a.ScreenName}
	if slices.Contains(strings.Split(c.value("user.fields"), ","), "profile_image_url") {
		user["profile_image_url"] = "http://" + r.Host + avatarPath(a.ID, "_normal")
	}
	return "told", answerJSON(w, map[string]any{"data": user})
}

// invalidateToken answers POST /1.1/oauth/invalidate_token.json: it ends the pair that signed the call, wherever that pair is in use.
func (s *Server) invalidateToken(w http.ResponseWriter, r *http.Request) (string, error) {
	a, c, err := s.caller(r)
	if err != nil {
		return "", err
	}
	s.Revoke(a.ID)
	return "ended", answerJSON(w, map[string]string{"access_token": c.oauth["oauth_token"]})
}

// caller returns the account whose access token signed r.
func (s *Server) caller(r *http.Request) (Account, call, error) {
	var a Account
	c, err := s.verify(r, func(token string) (string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()

		if token == "" {
			return "", errBadData("oauth_token is missing")
		}
		id, secret, ok := s.holder(token)
		if !ok {
			return "", errToken("access token unknown or revoked")
		}
		a = *s.account(id)
		return secret, nil
	})
	return a, c, err
}

func answerJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, kindJSON, string(body))
	return nil
}
