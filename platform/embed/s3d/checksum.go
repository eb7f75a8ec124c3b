package s3d

import (
	"encoding/base64"
	"hash"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3response"
)

// summed is a body whose CRC-64/NVME is made as it is read, with the processor's
// help: the library's own way is a table, which takes as long as the copy. To the
// library it is a body that brings its checksum after its bytes.
type summed struct {
	io.Reader
	sum hash.Hash64
}

var _ middlewares.ChecksumReader = (*summed)(nil)

// bodyOf returns the body of in, of which all that was announced must come. It makes
// the checksum that is kept where the client asks for none and gives none.
func bodyOf(in s3response.PutObjectInput) io.Reader {
	body := announced(in.Body, in.ContentLength)
	if body == nil || in.ChecksumAlgorithm != "" {
		return body
	}
	if r, ok := in.Body.(middlewares.ChecksumReader); ok && r.Algorithm() != "" {
		return body
	}
	for _, given := range []*string{
		in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumSHA1, in.ChecksumSHA256, in.ChecksumSHA512,
		in.ChecksumCRC64NVME, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128,
	} {
		if given != nil {
			return body
		}
	}
	return &summed{body, crc64nvme.New()}
}

// Read reads on.
func (s *summed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	_, _ = s.sum.Write(p[:n]) // never fails
	return n, err             //nolint:wrapcheck // the library's own error
}

// Algorithm names the checksum.
func (s *summed) Algorithm() string { return string(types.ChecksumAlgorithmCrc64nvme) }

// Checksum returns that of what was read so far.
func (s *summed) Checksum() string { return base64.StdEncoding.EncodeToString(s.sum.Sum(nil)) }
