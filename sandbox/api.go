package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verifyCredentials answers GET /1.1/account/verify_credentials.json: who signed this call, with the fields of X's v1.1 user object that mean something here.
func (s *Server) verifyCredentials(w http.ResponseWriter, r *http.Request) (string, error) {
	a, c, err := s.caller(r, w, "verify_credentials")
	if err != nil {
		return "", err
	}
	image := imageURL(r, a)
	user := map[string]any{
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
		"statuses_count":           1,
		"created_at":               "Tue Mar 21 20:50:14 +0000 2006",
		"default_profile":          true,
		"default_profile_image":    false,
		"profile_image_url":        image,
		"profile_image_url_https":  image, // http here: the sandbox has no certificate
	}
	entities := c.value("include_entities") != "false"
	if entities {
		user["entities"] = map[string]any{"description": map[string]any{"urls": []any{}}}
	}
	if !yes(c.value("skip_status")) {
		status := map[string]any{"created_at": user["created_at"], "id": 20, "id_str": "20", "text": "just setting up my sandbox", "truncated": false}
		if entities {
			status["entities"] = map[string]any{"hashtags": []any{}, "symbols": []any{}, "urls": []any{}, "user_mentions": []any{}}
		}
		user["status"] = status
	}
	if yes(c.value("include_email")) {
		user["email"] = nil // which is X's answer for people without one
		if a.Email != "" {
			user["email"] = a.Email
		}
	}
	return "The caller was told that it is @" + a.ScreenName + ".", answerJSON(w, user)
}

// yes reads X's booleans.
func yes(value string) bool { return value == "true" || value == "t" || value == "1" }

// imageURL is where this Twitter has a person's picture, in the size that X tells of.
func imageURL(r *http.Request, a Account) string {
	return scheme(r) + "://" + r.Host + avatarPath(a.ID, "_normal")
}

// userFields are those of X's v2 user object that one can ask for. The ones without a meaning here are left out, as X leaves out what is empty.
var userFields = []string{"affiliation", "confirmed_email", "connection_status", "created_at", "description", "entities", "id", "is_identity_verified",
	"location", "most_recent_tweet_id", "name", "parody", "pinned_tweet_id", "profile_banner_url", "profile_image_url", "protected", "public_metrics",
	"receives_your_dm", "subscription", "subscription_type", "url", "username", "verified", "verified_followers_count", "verified_type", "withheld"}

// usersMe answers GET /2/users/me: id, name and username, and what user.fields asks for besides.
func (s *Server) usersMe(w http.ResponseWriter, r *http.Request) (string, error) {
	a, c, err := s.caller(r, w, "users_me")
	if err != nil {
		return "", err
	}
	user := map[string]any{"id": a.ID, "name": a.Name, "username": a.ScreenName}
	more := map[string]any{
		"created_at": "2006-03-21T20:50:14.000Z", "description": "", "protected": false, "verified": false, "verified_type": "none",
		"profile_image_url": imageURL(r, a),
		"public_metrics":    map[string]int{"followers_count": 0, "following_count": 0, "tweet_count": 1, "listed_count": 0, "like_count": 0, "media_count": 0},
	}
	if a.Email != "" {
		more["confirmed_email"] = a.Email
	}
	if fields := c.value("user.fields"); fields != "" {
		for field := range strings.SplitSeq(fields, ",") {
			if !slices.Contains(userFields, field) {
				return "", errField(field)
			}
			if value, ok := more[field]; ok {
				user[field] = value
			}
		}
	}
	return "The caller was told that it is @" + a.ScreenName + ".", answerJSON(w, map[string]any{"data": user})
}

// errField is how X's v2 words a parameter that makes no sense.
func errField(field string) error {
	message := fmt.Sprintf("The `user.fields` query parameter value [%s] is not one of [%s]", cut(field, 100), strings.Join(userFields, ","))
	body, err := json.Marshal(map[string]any{
		"errors": []any{map[string]any{"parameters": map[string]any{"user.fields": []string{cut(field, 100)}}, "message": message}},
		"title":  "Invalid Request", "detail": "One or more parameters to your request was invalid.", "type": "https://api.twitter.com/2/problems/invalid-request",
	})
	if err != nil {
		return err
	}
	return &refusal{status: http.StatusBadRequest, kind: kindJSON, body: string(body), reason: "user.fields asks for " + quoted(field) + ", which X does not know."}
}

// invalidateToken answers POST /1.1/oauth/invalidate_token.json: it ends the pair that signed the call, wherever that pair is in use.
func (s *Server) invalidateToken(w http.ResponseWriter, r *http.Request) (string, error) {
	a, c, err := s.caller(r, w, "")
	if err != nil {
		return "", err
	}
	s.Revoke(a.ID)
	return "The access token of @" + a.ScreenName + " was ended.", answerJSON(w, map[string]string{"access_token": c.oauth["oauth_token"]})
}

// caller returns the account whose access token signed r, counts the call where X has a limit, and says so in X's headers.
func (s *Server) caller(r *http.Request, w http.ResponseWriter, limit string) (Account, call, error) {
	var a Account
	var p pair
	c, err := s.verify(r, func(token string) (string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()

		now := s.opts.Now()
		if token == "" {
			return "", errBadData("oauth_token is missing: the access token belongs there.")
		}
		id, held, ok := s.holder(token)
		if !ok {
			if _, request := s.requests.get(now, token); request {
				return "", errToken("oauth_token is a request token; an access token belongs here.")
			}
			return "", errToken("The access token was revoked, or is not of this run.")
		}
		a, p = *s.account(id), held
		return p.secret, nil
	})
	if err != nil {
		return a, c, err
	}
	if traceOf(r).has("revoked") {
		s.Revoke(a.ID)
		return a, c, errToken("The access token was revoked by a fault.")
	}
	w.Header().Set("X-Access-Level", p.access.String())
	if limit != "" && !s.count(w, p.token, limit) {
		return a, c, errRate
	}
	return a, c, a.trouble()
}

// X's limit for both ways to ask for a profile.
const (
	rateLimit  = 75
	rateWindow = 15 * time.Minute
)

// limited is what has a limit of its own; window is how far it is used up.
type (
	limited struct{ token, endpoint string }
	window  struct {
		ends  time.Time
		calls int
	}
)

// count takes down one more call, and tells whether it is within the limit, or limits are off.
func (s *Server) count(w http.ResponseWriter, token, endpoint string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	now, of := s.opts.Now(), limited{token, endpoint}
	l := s.limits[of]
	if !now.Before(l.ends) {
		maps.DeleteFunc(s.limits, func(_ limited, l window) bool { return !now.Before(l.ends) })
		l = window{ends: now.Add(rateWindow)}
	}
	l.calls++
	s.limits[of] = l
	rateHeaders(w, max(0, rateLimit-l.calls), l.ends)
	return l.calls <= rateLimit || !s.opts.RateLimits
}

func rateHeaders(w http.ResponseWriter, remaining int, ends time.Time) {
	w.Header().Set("X-Rate-Limit-Limit", strconv.Itoa(rateLimit))
	w.Header().Set("X-Rate-Limit-Remaining", strconv.Itoa(remaining))
	w.Header().Set("X-Rate-Limit-Reset", strconv.FormatInt(ends.Unix(), 10))
}

func answerJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, kindJSON, string(body))
	return nil
}
