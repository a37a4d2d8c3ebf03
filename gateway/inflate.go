package gateway

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/millrace/millrace/model"
)

// errInflate is a body that is not what its Content-Encoding says.
var errInflate = errors.New("the body is not what Content-Encoding says")

// plainBody is the request's body as it was before it was compressed, of at most the
// largest body's bytes before and after.
func (g *Gateway) plainBody(w http.ResponseWriter, r *http.Request) (io.Reader, *refusal) {
	most := g.cfg.MaxBodyBytes
	body := http.MaxBytesReader(bare(w), r.Body, most)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return body, nil
	case "gzip":
		return &inflated{from: body, left: most, most: most, open: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }}, nil
	case "deflate": // RFC 9110: in zlib's format
		return &inflated{from: body, left: most, most: most, open: func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }}, nil
	default:
		return nil, &refusal{status: http.StatusUnsupportedMediaType, err: model.Errorf(model.UnsupportedMediaType, "content encoding %q is none of gzip, deflate and identity", encoding)}
	}
}

// inflated reads a compressed body.
type inflated struct {
	from       io.Reader
	open       func(io.Reader) (io.Reader, error)
	left, most int64 // bytes
	plain      io.Reader
}

// Read implements [io.Reader]. What is too large fails as [http.MaxBytesReader] does.
func (i *inflated) Read(p []byte) (int, error) {
	if i.plain == nil {
		var err error
		if i.plain, err = i.open(i.from); err != nil {
			return 0, i.blame(err)
		}
	}
	n, err := i.plain.Read(p)
	if i.left -= int64(n); i.left < 0 {
		return 0, &http.MaxBytesError{Limit: i.most}
	}
	return n, i.blame(err)
}

// blame tells a bad body from one that does not come.
func (i *inflated) blame(err error) error {
	corrupt := flate.CorruptInputError(0)
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum),
		errors.Is(err, zlib.ErrDictionary), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &corrupt):
		return errors.Join(errInflate, err)
	case errors.Is(err, io.EOF) && i.plain == nil:
		return errors.Join(errInflate, err)
	}
	return err
}
