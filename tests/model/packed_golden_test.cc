// Packed weights against other programs: the compressed-tensors package, and numpy
// (tests/python/make_packed.py).
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "io/json.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "tests/model/packed_files.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

TEST(PackedGolden, DecodesWhatOtherProgramsPack) {
  const auto golden =
      SafetensorsFile::open(fs::path(COLDPRESS_SOURCE_DIR) / "tests/golden/packed.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status().message();
  const std::string linear = "model.layers.0.mlp.up_proj";
  std::map<std::string, test::RawTensors> parts;
  std::map<std::string, std::vector<float>> values;
  for (const SafetensorsInfo& t : golden->content().tensors) {
    const std::size_t slash = t.name.find('/');
    const std::string name = t.name.substr(0, slash);
    const std::string part = t.name.substr(slash + 1);
    if (part == "values") {
      values[name].resize(t.data.size() / sizeof(float));
      std::memcpy(values[name].data(), t.data.data(), t.data.size());
    } else {
      parts[name][linear + "." + part] = {t.dtype, t.shape, {t.data.begin(), t.data.end()}};
    }
  }
  ASSERT_GE(parts.size(), 25U);
  for (const auto& [name, packed] : parts) {
    SCOPED_TRACE(name);
    const TempFolder folder;
    const auto settings = parse_json(golden->content().metadata.at(name), name);
    ASSERT_TRUE(settings.ok());
    spill(folder / "config.json", test::packed_config(*settings).dump());
    test::RawTensors tensors = test::packed_rest();
    for (const auto& [other, size] : test::packed_linears()) {
      const std::vector<float> zeros(static_cast<std::size_t>(size.first * size.second));
      if (other == linear) continue;
      tensors[other + ".weight"] = test::raw_floats(DType::kBF16, {size.first, size.second}, zeros);
    }
    tensors.insert(packed.begin(), packed.end());
    test::write_raw(folder / "model.safetensors", tensors);
    const auto model = Model::open(folder.path());
    ASSERT_TRUE(model.ok()) << model.status().message();
    const auto weight = (*model)->load(linear + ".weight");
    ASSERT_TRUE(weight.ok()) << weight.status().message();
    std::vector<float>& expected = values.at(name);
    // The golden file has exact products; GPTQ's scales there are F16, in which loaders multiply.
    if (name.starts_with("gptq")) round_to_dtype(DType::kF16, expected);
    ASSERT_EQ(static_cast<std::size_t>(weight->size()), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_EQ(weight->data()[i], expected[i]) << i;
  }
}

}  // namespace
}  // namespace coldpress
