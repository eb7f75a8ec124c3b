package blob

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// PresignGet returns a URL under which anybody can read the object until
// expiry has passed, at most seven days. A browser saves it under filename
// unless that is empty. Nothing is asked of the server: the object need not be
// there.
func (s *Store) PresignGet(ctx context.Context, key string, expiry time.Duration, filename string) (string, error) {
	if err := ValidKey(key); err != nil {
		return "", err
	}
	params := url.Values{}
	if filename != "" {
		params.Set("response-content-disposition", mime.FormatMediaType("attachment", map[string]string{"filename": filename}))
	}
	u, err := s.public.PresignedGetObject(ctx, s.cfg.Bucket, key, expiry, params)
	if err != nil {
		return "", classify("PresignGet", key, err)
	}
	return u.String(), nil
}

// PresignPut returns a URL under which anybody can store the object once until
// expiry has passed, at most seven days, and the fields that the PUT must have:
// they are signed, so that another type, or an object that is there already, is
// refused by the server. So is another size than size, unless that is 0: then look
// with [Store.Stat] at what was stored.
func (s *Store) PresignPut(ctx context.Context, key string, expiry time.Duration, media string, size int64) (link string, fields map[string]string, err error) {
	if err := ValidKey(key); err != nil {
		return "", nil, err
	}
	fields = map[string]string{"Content-Type": media, "If-None-Match": "*"}
	signed := make(http.Header)
	for name, value := range fields {
		signed.Set(name, value)
	}
	if size > 0 { // every client sends it by itself
		signed.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	u, err := s.public.PresignHeader(ctx, http.MethodPut, s.cfg.Bucket, key, expiry, nil, signed)
	if err != nil {
		return "", nil, classify("PresignPut", key, err)
	}
	return u.String(), fields, nil
}
