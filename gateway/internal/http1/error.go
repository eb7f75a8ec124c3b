package http1

import "strconv"

// Error is a request that cannot be served as it stands. The connection must
// be closed after it: where the next request would start is unknown.
type Error struct {
	Status int    // the HTTP status to answer with
	Public string // one sentence for the client
}

// Error returns the status and the sentence.
func (e *Error) Error() string { return "http " + strconv.Itoa(e.Status) + ": " + e.Public }

// The refusals of the parser. Their texts are for clients.
var (
	errBareLF         = &Error{400, "A line does not end in CR LF."}
	errBareCR         = &Error{400, "A carriage return stands alone."}
	errRequestLine    = &Error{400, "The request line is not 'method target version'."}
	errMethod         = &Error{400, "The method is not a token."}
	errTarget         = &Error{400, "The request target is not valid."}
	errPercent        = &Error{400, "The path has an invalid percent-encoding."}
	errVersion        = &Error{505, "Only HTTP/1.1 and HTTP/1.0 are served here."}
	errFieldLine      = &Error{400, "A header line is not 'name: value'."}
	errFieldName      = &Error{400, "A header name is not a token."}
	errFieldValue     = &Error{400, "A header value contains a control character."}
	errHost           = &Error{400, "The Host header is missing, repeated or not valid."}
	errLength         = &Error{400, "The Content-Length header is repeated or not a number."}
	errBothFramings   = &Error{400, "Content-Length and Transfer-Encoding exclude each other."}
	errCodingVersion  = &Error{400, "Transfer-Encoding needs HTTP/1.1."}
	errCodingOrder    = &Error{400, "The chunked transfer coding must be the last one and stand alone."}
	errCoding         = &Error{501, "The only transfer coding served here is chunked."}
	errChunk          = &Error{400, "The chunked body is malformed."}
	errExtensions     = &Error{400, "The chunk extensions are too long."}
	errTrailers       = &Error{431, "The trailer section is too long."}
	errTrailer        = &Error{400, "The trailer section is malformed."}
	errBodyTooLarge   = &Error{413, "The body is larger than the limit."}
	errTargetTooLong  = &Error{414, "The request target is longer than the limit."}
	errHeadTooLarge   = &Error{431, "The request head is larger than the limit."}
	errTooManyFields  = &Error{431, "The request has more header fields than the limit."}
	errExpectation    = &Error{417, "The only expectation met here is 100-continue."}
	errConnect        = &Error{501, "This server is not a proxy: CONNECT is not served."}
	errTooManyCRLF    = &Error{400, "Empty lines precede the request."}
	errConnectionList = &Error{400, "The Connection header is not a list of tokens."}
)
