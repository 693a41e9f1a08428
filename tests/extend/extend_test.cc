// docs/extend/architecture.md: its declaration, compiled from the text, reads a model and gives the
// golden logits. The model is the tiny Qwen2 under the names of the declaration.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/json.h"
#include "tests/model/forward.h"
#include "tests/model/tiny_experts.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

TEST(ExtendArchitecture, TheDocumentedDeclarationGivesTheGoldenLogits) {
  const fs::path source = fs::path(COLDPRESS_SHARED_DATA) / "tiny/qwen2";
  if (!fs::exists(source)) GTEST_SKIP() << source << " is absent";
  const Architecture& qwen2 = *find_architecture("qwen2");
  const Architecture* nimbus = find_architecture("nimbus");
  ASSERT_NE(nimbus, nullptr);
  test::RawTensors renamed;
  for (auto& [name, tensor] : test::read_raw(source / "model.safetensors")) {
    const auto match = match_tensor(qwen2, Naming::kHf, name);
    ASSERT_TRUE(match.has_value()) << name;
    const RoleSpec* role = find_role(*nimbus, match->role->role);
    ASSERT_NE(role, nullptr) << name;
    renamed[tensor_name(*role, Naming::kHf, match->block)] = tensor;
  }
  const TempFolder folder;
  test::write_raw(folder / "model.safetensors", renamed);
  Json config = read_json_file(source / "config.json").value();
  config["model_type"] = "nimbus";
  spill(folder / "config.json", config.dump());
  const auto model = Model::open(folder.path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->taps(0).front().linears.size(), 3U);
  expect_golden(**model, DType::kF16, source / "golden.safetensors");
}

}  // namespace
}  // namespace coldpress
