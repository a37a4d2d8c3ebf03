package oip

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/millrace/millrace/model"
)

// wholeOf is a whole number in two's complement.
func wholeOf(n json.Number, signed bool) (uint64, error) {
	if signed {
		i, err := n.Int64()
		return uint64(i), err //nolint:gosec // the same bits
	}
	return strconv.ParseUint(n.String(), 10, 64)
}

func appendFloat(dst []byte, datatype string, f float64) ([]byte, error) {
	switch datatype {
	case "FP16":
		return little.AppendUint16(dst, model.HalfBits(f)), nil
	case "FP32":
		return little.AppendUint32(dst, math.Float32bits(float32(f))), nil
	default:
		return little.AppendUint64(dst, math.Float64bits(f)), nil
	}
}
