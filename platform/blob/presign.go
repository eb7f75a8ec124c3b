package blob

import (
	"context"
	"mime"
	"net/url"
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

// PresignPut returns a URL under which anybody can store the object until
// expiry has passed, at most seven days. It does not bound the size: look with
// [Store.Stat] at what was stored.
func (s *Store) PresignPut(ctx context.Context, key string, expiry time.Duration) (string, error) {
	if err := ValidKey(key); err != nil {
		return "", err
	}
	u, err := s.public.PresignedPutObject(ctx, s.cfg.Bucket, key, expiry)
	if err != nil {
		return "", classify("PresignPut", key, err)
	}
	return u.String(), nil
}
