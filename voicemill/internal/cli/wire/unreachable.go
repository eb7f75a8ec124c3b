package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
)

// Unreachable reports whether err comes from the way to the server: nobody
// listens, the name is unknown, or the connection broke.
func Unreachable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}
