package load_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/load"
)

func TestConfig(t *testing.T) {
	require.NoError(t, (&load.Config{}).Validate())
	require.NoError(t, (&load.Config{Flavor: "lightgbm"}).Validate())
	require.ErrorContains(t, (&load.Config{Flavor: "LightGBM"}).Validate(), `MILLRACE_MODEL_FLAVOR: "LightGBM" is none of auto, onnx, lightgbm`)
	require.ErrorContains(t, (&load.Config{Lanes: -1}).Validate(), "MILLRACE_MODEL_LANES")
	require.ErrorContains(t, (&load.Config{Lanes: 5000}).Validate(), "MILLRACE_MODEL_LANES")
}
