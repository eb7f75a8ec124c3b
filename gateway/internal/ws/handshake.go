package ws

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 asks for SHA-1; nothing secret depends on it
	"encoding/base64"
	"fmt"
	"strings"
)

const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3

// Handshake is a client's request to speak WebSocket, checked.
type Handshake struct {
	Accept      string // Sec-WebSocket-Accept
	Subprotocol string // the first offered one that the server speaks, or empty
	Deflate     bool   // permessage-deflate was offered on terms we can meet
}

// HandshakeError is why a request cannot become a WebSocket.
type HandshakeError struct {
	Status int // 400 or 426
	Detail string
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("websocket handshake %d: %s", e.Status, e.Detail)
}

// Shake checks an upgrade request (RFC 6455 section 4.2.1). header returns the
// first value of a header, or empty. An error is a *[HandshakeError]; with
// status 426 the answer must carry Sec-WebSocket-Version: 13.
func Shake(method string, header func(name string) string, subprotocols []string) (Handshake, error) {
	fail := func(format string, args ...any) (Handshake, error) {
		return Handshake{}, &HandshakeError{Status: 400, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case method != "GET":
		return fail("the method must be GET, is %s", method)
	case !hasToken(header("Connection"), "upgrade"):
		return fail("Connection must name upgrade")
	case !hasToken(header("Upgrade"), "websocket"):
		return fail("Upgrade must be websocket")
	case header("Sec-WebSocket-Version") != "13":
		return Handshake{}, &HandshakeError{Status: 426, Detail: "the version must be 13"}
	}
	key := header("Sec-WebSocket-Key")
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 {
		return fail("Sec-WebSocket-Key must be 16 bytes in base64")
	}
	sum := sha1.Sum([]byte(key + acceptGUID)) //nolint:gosec // see the import
	hs := Handshake{
		Accept:  base64.StdEncoding.EncodeToString(sum[:]),
		Deflate: OffersDeflate(header("Sec-WebSocket-Extensions")),
	}
	for offered := range strings.SplitSeq(header("Sec-WebSocket-Protocol"), ",") {
		offered = strings.TrimSpace(offered)
		for _, known := range subprotocols {
			if offered == known && hs.Subprotocol == "" {
				hs.Subprotocol = known
			}
		}
	}
	return hs, nil
}

func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}
