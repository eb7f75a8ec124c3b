package s3d

import (
	"errors"
	"os"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/s3err"
	"golang.org/x/sys/unix"
)

// joinedAttribute is the last that the library stores of an object made of parts,
// with all its data written and before it has its name.
const joinedAttribute = "mp-metadata"

// attributes syncs an object that was joined from parts before it gets its name.
// The library offers no other place for that: it drops the errors of a copy
// function of ours, and a file that the disk had no room for would be stored short.
type attributes struct{ meta.MetadataStorer }

// StoreAttribute stores one attribute of an object whose file is f.
func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if err := a.MetadataStorer.StoreAttribute(f, bucket, object, attribute, value); err != nil {
		return err
	}
	if f == nil || attribute != joinedAttribute {
		return nil
	}
	return f.Sync()
}

// plain takes from err what the library wrapped around an error that clients
// know: it would be answered as an internal one.
func plain(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)
	}
	if known, ok := errors.AsType[s3err.S3Error](err); ok {
		return known
	}
	return err
}
