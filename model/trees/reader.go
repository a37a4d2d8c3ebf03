package trees

import (
	"errors"
	"fmt"
)

// reader goes through a document of JSON or UBJSON from front to back. Each
// method reads the value that comes next, and fails when it is of another kind.
// What is read is bounded by the document's size, and nested values by maxDepth.
type reader interface {
	// object calls member with each key; it has to read the value.
	object(member func(key string) error) error
	// list calls item for each item, which it has to read.
	list(item func() error) error
	// text reads a string, or a number or word as it stands.
	text() (string, error)
	// floats reads a list of numbers, rounded to float32.
	floats() ([]float32, error)
	// ints reads a list of whole numbers of 32 bits. false is 0, true is 1.
	ints() ([]int32, error)
	// skip passes a value of any kind.
	skip() error
	// end fails when the document goes on.
	end() error
}

// maxDepth is beyond what XGBoost nests, which is 8 deep.
const maxDepth = 32

var errDeep = fmt.Errorf("nested deeper than %d", maxDepth)

// errEnd is what truncated files end with.
var errEnd = errors.New("the file ends within a value: it was cut off")

// newReader tells the two forms apart by what follows the first brace: UBJSON
// goes on with the type of a key's length.
func newReader(data []byte) (reader, error) {
	i := 0
	for i < len(data) && space(data[i]) {
		i++
	}
	if i == len(data) || data[i] != '{' {
		return nil, errors.New("not an XGBoost model: it begins with no object")
	}
	if i+1 < len(data) {
		switch data[i+1] {
		case 'i', 'U', 'I', 'l', 'L', '$', '#', 'N':
			return &ubjson{data: data, pos: i}, nil
		}
	}
	return &jsonText{data: data, pos: i}, nil
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
