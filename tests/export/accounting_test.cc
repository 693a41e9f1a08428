// Every stored tensor of a source is quantised, copied bit for bit, converted, or dropped with a
// reason, and nothing is in two lists; split output; packed sources against their plain twins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "export/export.h"
#include "export/hf_files.h"
#include "io/json.h"
#include "tests/export/tiny_models.h"
#include "tests/model/packed_files.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using How = ExportedTensor::How;
using test::Packed;
using test::RawTensors;
using Pack = std::function<Packed(const std::string&, int64_t out, int64_t in, uint64_t seed)>;

struct Form {
  const char* name;
  Json settings;
  Pack pack;
};

std::vector<Form> forms() {
  return {
      {"plain", nullptr,
       [](const std::string& name, int64_t out, int64_t in, uint64_t seed) {
         // The values of the FP8 form.
         Packed p = test::pack_fp8(name, out, in, 32, 32, "_scale_inv", seed);
         p.parts = {{name + ".weight", test::raw_floats(DType::kBF16, {out, in}, p.values)}};
         return p;
       }},
      {"fp8",
       {{"quant_method", "fp8"}, {"weight_block_size", {32, 32}}},
       [](const std::string& name, int64_t out, int64_t in, uint64_t seed) {
         return test::pack_fp8(name, out, in, 32, 32, "_scale_inv", seed);
       }},
      {"int4", Json::parse(R"({"quant_method": "compressed-tensors", "format": "pack-quantized",
         "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4,
         "type": "int", "strategy": "group", "group_size": 32}}}})"),
       [](const std::string& name, int64_t out, int64_t in, uint64_t seed) {
         return test::pack_compressed(name, test::int_weight(out, in, 32, 4, false, false, seed),
                                      false, false);
       }},
      {"gptq",
       {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}},
       [](const std::string& name, int64_t out, int64_t in, uint64_t seed) {
         return test::pack_gptq(name, test::int_weight(out, in, 32, 4, false, false, seed), false,
                                true);
       }},
  };
}

// One block, an MTP layer and head, a vision tower and rotary buffers; in two shards.
RawTensors everything(const Form& form) {
  RawTensors tensors = test::packed_rest();
  uint64_t seed = 0;
  for (const int64_t block : {0, 1}) {  // block 1 is beyond num_hidden_layers
    for (const auto& [name, size] : test::packed_linears(block)) {
      for (auto& [part, content] : form.pack(name, size.first, size.second, ++seed).parts) {
        tensors[part] = std::move(content);
      }
    }
  }
  const auto some = [](std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    return test::raw_floats(DType::kBF16, shape,
                            std::vector<float>(static_cast<std::size_t>(count), 0.25F));
  };
  tensors["model.layers.1.eh_proj.weight"] = some({64, 128});
  tensors["model.layers.1.enorm.weight"] = some({64});
  tensors["mtp.fc.weight"] = some({64, 64});
  tensors["vision_tower.patch_embed.weight"] = some({8, 3, 4, 4});
  tensors["vision_tower.blocks.0.norm.bias"] = some({8});
  tensors["multi_modal_projector.linear.weight"] = some({64, 8});
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = some({8});
  return tensors;
}

void write_folder(const fs::path& folder, const Form& form, bool with_extras) {
  fs::create_directory(folder);
  spill(folder / "config.json", test::packed_config(form.settings).dump(2));
  spill(folder / "tokenizer.json", test::byte_level_json().dump());
  spill(folder / "tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  spill(folder / "quantize_config.json", "{}");
  RawTensors tensors = everything(form);
  if (!with_extras) {
    std::erase_if(tensors, [](const auto& t) {
      return !t.first.starts_with("model.layers.0.") && !test::packed_rest().contains(t.first);
    });
    tensors.erase("model.layers.0.self_attn.rotary_emb.inv_freq");
  }
  RawTensors shards[2];
  Json index;
  for (auto& [name, tensor] : tensors) {
    const int shard = name.find("mlp") != std::string::npos;
    index["weight_map"][name] = shard == 0 ? "a.safetensors" : "b.safetensors";
    shards[shard][name] = std::move(tensor);
  }
  test::write_raw(folder / "a.safetensors", shards[0]);
  test::write_raw(folder / "b.safetensors", shards[1]);
  index["metadata"]["total_size"] = 1;
  spill(folder / "model.safetensors.index.json", index.dump());
}

Result<std::vector<ExportedTensor>> write_all(const Model& model, const fs::path& out, bool press,
                                              uint64_t split = 0) {
  const auto solutions = test::made_up_solutions(model, DType::kBF16);
  ExportRequest request{model, out, DType::kBF16, {}, "1"};
  if (press) request.quantised = test::names_of(solutions);
  request.split_bytes = split;
  COLDPRESS_ASSIGN_OR_RETURN(const auto sink, open_export(request));
  for (const std::string& name : request.quantised) {
    COLDPRESS_RETURN_IF_ERROR(sink->put(name, {solutions.at(name).view(), {}}));
  }
  COLDPRESS_RETURN_IF_ERROR(sink->finish({"{}", "{}"}));
  return sink->tensors();
}

class Accounting : public ::testing::TestWithParam<std::size_t> {
 protected:
  Form form_ = forms()[GetParam()];
  TempFolder work_;
};

TEST_P(Accounting, TheListsMakeTheWhole) {
  write_folder(work_ / "in", form_, true);
  const auto model = test::open_model(work_ / "in");
  ASSERT_NE(model, nullptr);
  const RawTensors stored = everything(form_);
  for (const char* out : {"out", "out.gguf"}) {
    SCOPED_TRACE(out);
    const auto written = write_all(*model, work_ / out, true);
    ASSERT_TRUE(written.ok()) << written.status().message();
    std::set<std::string> accounted;
    const auto output = test::open_model(work_ / out);
    ASSERT_NE(output, nullptr);
    std::size_t kept = 0;
    for (const ExportedTensor& t : *written) {
      EXPECT_TRUE(accounted.insert(t.source_name).second) << t.source_name << " is in two lists";
      if (t.how == How::kDropped) {
        EXPECT_FALSE(t.reason.empty()) << t.source_name;
        EXPECT_EQ(output->find(t.source_name), nullptr);
        continue;
      }
      ++kept;
      const SourceTensor* after = output->find(t.name);
      ASSERT_NE(after, nullptr) << t.name;
      if (t.how != How::kCopied) continue;
      const auto& before = stored.at(t.source_name).bytes;
      EXPECT_TRUE(std::equal(before.begin(), before.end(), after->data.begin(), after->data.end()))
          << t.source_name;
    }
    EXPECT_EQ(output->tensors().size(), kept);
    // A packed weight stands for its parts, which are accounted for one by one beside it.
    for (const SourceTensor& t : model->tensors()) {
      if (stored.contains(t.name)) continue;
      EXPECT_EQ(accounted.erase(t.name), 1U) << t.name;
    }
    std::set<std::string> all;
    for (const auto& [name, tensor] : stored) all.insert(name);
    EXPECT_EQ(accounted, all);
  }
}

TEST_P(Accounting, ADenseFolderDoesNotSpeakOfPacking) {
  write_folder(work_ / "in", form_, true);
  const auto model = test::open_model(work_ / "in");
  ASSERT_NE(model, nullptr);
  const auto written = write_all(*model, work_ / "out", false);
  ASSERT_TRUE(written.ok()) << written.status().message();
  const auto config = read_json_file(work_ / "out/config.json");
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->contains("quantization_config"));
  const bool packed = !form_.settings.is_null();
  EXPECT_EQ(fs::exists(work_ / "out/quantize_config.json"), !packed);
  const auto output = test::open_model(work_ / "out");
  EXPECT_FALSE(output->source_is_quantised());
  const auto index = read_json_file(work_ / "out/model.safetensors.index.json");
  EXPECT_EQ((*index)["weight_map"].size(), output->tensors().size());
  for (const SourceTensor& t : model->tensors()) {
    if (!t.is_packed) continue;
    const auto before = model->load(t.name);
    const auto after = output->load(t.name);
    ASSERT_TRUE(before.ok() && after.ok());
    // Small codes times powers of two: BF16 holds FP8's and four-bit values exactly.
    EXPECT_TRUE(test::same_bits(*before, *after)) << t.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, Accounting, ::testing::Values(0, 1, 2, 3),
                         [](const auto& p) { return std::string(forms()[p.param].name); });

TEST(PackedTwin, GivesTheSameBytes) {
  const TempFolder work;
  write_folder(work / "plain", forms()[0], false);
  write_folder(work / "fp8", forms()[1], false);
  for (const char* name : {"plain", "fp8"}) {
    const auto model = test::open_model(work / name);
    ASSERT_NE(model, nullptr);
    ASSERT_TRUE(write_all(*model, work / (std::string(name) + "-out"), false).ok());
  }
  for (const char* shard : {"a.safetensors", "b.safetensors"}) {
    EXPECT_TRUE(slurp(work / "plain-out" / shard) == slurp(work / "fp8-out" / shard)) << shard;
  }
}

TEST(SplitExport, LlamaCppLoadsItAndItIsTheWhole) {
  const TempFolder work;
  write_folder(work / "in", forms()[0], false);
  const auto model = test::open_model(work / "in");
  ASSERT_TRUE(write_all(*model, work / "one.gguf", false).ok());
  const auto split = write_all(*model, work / "many.gguf", false, 40'000);
  ASSERT_TRUE(split.ok()) << split.status().message();
  EXPECT_FALSE(fs::exists(work / "many.gguf"));
  int files = 0;
  for (const std::string& name : work.names()) {
    files += name.starts_with("many-") ? 1 : 0;
    EXPECT_EQ(name.find(".part-"), std::string::npos) << name;
  }
  EXPECT_GE(files, 3);
  fs::path first;
  for (const std::string& name : work.names()) {
    if (first.empty() && name.starts_with("many-00001-of-")) first = work / name;
  }
  const auto one = test::open_model(work / "one.gguf");
  const auto many = test::open_model(first);
  ASSERT_TRUE(one != nullptr && many != nullptr);
  ASSERT_EQ(one->tensors().size(), many->tensors().size());
  for (const SourceTensor& t : one->tensors()) {
    const SourceTensor* other = many->find(t.name);
    ASSERT_NE(other, nullptr);
    EXPECT_TRUE(std::equal(t.data.begin(), t.data.end(), other->data.begin(), other->data.end()));
  }
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model* loaded = llama_model_load_from_file(first.c_str(), llama_model_default_params());
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(llama_model_n_layer(loaded), 1);
  llama_model_free(loaded);

  // Writing it again from the parts gives the whole; a part in the way is refused.
  ASSERT_TRUE(write_all(*many, work / "again.gguf", false).ok());
  EXPECT_EQ(test::open_model(work / "again.gguf")->tensors().size(), one->tensors().size());
  EXPECT_THAT(write_all(*model, work / "many.gguf", false, 40'000).status().message(),
              HasSubstr("already exists"));
}

TEST(SplitExport, FailingLeavesNothing) {
  const TempFolder work;
  write_folder(work / "in", forms()[0], false);
  const auto model = test::open_model(work / "in");
  {
    ExportRequest request{*model, work / "out.gguf", DType::kBF16, {}, "1"};
    request.split_bytes = 40'000;
    const auto sink = open_export(request);
    ASSERT_TRUE(sink.ok());
  }
  EXPECT_EQ(work.names(), std::vector<std::string>{"in"});
}

TEST(F16Range, AValueThatDoesNotFitIsRefused) {
  const TempFolder work;
  Form form = forms()[1];
  form.pack = [](const std::string& name, int64_t out, int64_t in, uint64_t seed) {
    Packed p = test::pack_fp8(name, out, in, 32, 32, "_scale_inv", seed);
    auto& scales = p.parts[name + ".weight_scale_inv"];
    scales = test::raw_floats(DType::kF32, scales.shape,
                              std::vector<float>(scales.bytes.size() / sizeof(float), 10'000.0F));
    return p;
  };
  write_folder(work / "in", form, false);
  const auto model = test::open_model(work / "in");
  const auto sink = open_export({*model, work / "out", DType::kF16, {}, "1"});
  ASSERT_TRUE(sink.ok());
  EXPECT_THAT((*sink)->finish({"{}", "{}"}).message(), HasSubstr("which F16 cannot"));
}

}  // namespace
}  // namespace coldpress
