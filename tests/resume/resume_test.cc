// A run that ends early goes on with the same job, to the same bytes; and never with another.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "export/recover.h"
#include "io/json.h"
#include "pipeline/disk_space.h"
#include "pipeline/quantize_model.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_job.h"
#include "tests/cli/tiny_model.h"
#include "tests/distributed/thread_comm.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// Name to content of what depends on the plan alone.
using Bytes = std::map<std::string, std::string>;

class Resume : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }

  // The tiny Qwen3-MoE, which comes without a tokenizer; false: it is absent.
  bool write_experts() {
    const fs::path source = fs::path(COLDPRESS_SHARED_DATA) / "tiny/qwen3-moe";
    if (!fs::exists(source)) return false;
    fs::create_directory(folder_ / "experts");
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::copy_file(source / name, folder_ / "experts" / name);
    }
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      fs::copy_file(folder_ / "model" / name, folder_ / "experts" / name);
    }
    return true;
  }

  QuantizeJob job(const std::string& out, const std::string& model = "model") const {
    QuantizeJob job = tiny_job(folder_.path(), out);
    job.model = folder_ / model;
    job.threads = 2;
    job.recipe.grid.bits = 3;
    job.recipe.samples = 5;
    job.recipe.seqlen = 32;
    return job;
  }

  Bytes bytes_of(const std::string& out) const {
    Bytes bytes;
    const std::string stem = fs::path(out).stem();
    for (const std::string& name : folder_.names()) {
      if (!name.starts_with(stem) || name.ends_with(".coldpress.json")) continue;
      const fs::path path = folder_ / name;
      if (!fs::is_directory(path)) {
        bytes[name.substr(stem.size())] = slurp(path);
        continue;
      }
      for (const auto& entry : fs::directory_iterator(path)) {
        const std::string file = entry.path().filename();
        if (file != "coldpress.json") bytes[file] = slurp(entry.path());
      }
    }
    return bytes;
  }

  // Runs `change`d jobs that end after every `step` linears until one is complete, and compares it
  // with a run in one go. Activations are saved after every block or never.
  void expect_same_bytes(const std::function<void(QuantizeJob&)>& change, const std::string& suffix,
                         int64_t step, bool saves, const std::string& model = "model") {
    QuantizeJob whole = job("whole" + suffix, model);
    change(whole);
    const auto reference = quantize_model(std::move(whole));
    ASSERT_TRUE(reference.ok()) << reference.status().message();
    std::vector<std::string> notices;
    int runs = 0;
    for (bool is_done = false; !is_done; ++runs) {
      ASSERT_LT(runs, 200);
      QuantizeJob part = job("parts" + suffix, model);
      change(part);
      part.work = WorkFolderOptions{.save_spacing = saves ? 0 : 1e9};
      part.notice = [&](const std::string& sentence) { notices.push_back(sentence); };
      const int64_t last = step * (runs + 1);
      part.progress = [&](const Progress& p) { return p.done < last; };
      const auto result = quantize_model(std::move(part));
      is_done = result.ok();
      if (is_done) {
        EXPECT_EQ((*reference)["tensors"], (*result)["tensors"]);
        EXPECT_EQ((*reference)["flops"], (*result)["flops"]);
        break;
      }
      EXPECT_THAT(result.status().message(), HasSubstr("the same command goes on from here"));
      EXPECT_FALSE(fs::exists(folder_ / ("parts" + suffix)));
      ASSERT_TRUE(fs::exists(folder_ / ("parts" + suffix + ".work")));
    }
    EXPECT_GT(runs, 1);
    EXPECT_EQ(static_cast<std::size_t>(runs), notices.size());
    EXPECT_FALSE(fs::exists(folder_ / ("parts" + suffix + ".work")));
    const Bytes one = bytes_of("whole" + suffix);
    EXPECT_FALSE(one.empty());
    EXPECT_TRUE(one == bytes_of("parts" + suffix));
  }

  // A run that ends after `linears`.
  Status run_part(QuantizeJob part, int64_t linears) {
    part.work = WorkFolderOptions{.save_spacing = 0};
    part.progress = [=](const Progress& p) { return p.done < linears; };
    return quantize_model(std::move(part)).status();
  }

  // One process begins, two ranks go on, three end it. 20 windows are three shards.
  void expect_same_bytes_with_ranks(const std::function<void(QuantizeJob&)>& change,
                                    const std::string& suffix, int64_t step,
                                    const std::string& model = "model") {
    const auto make = [&](const std::string& out, int64_t last, Comm* comm) {
      QuantizeJob made = job(out + suffix, model);
      made.recipe.samples = 20;
      change(made);
      made.comm = comm;
      if (last == 0) return made;
      made.work = WorkFolderOptions{.save_spacing = 0};
      made.progress = [=](const Progress& p) { return p.done < last; };
      return made;
    };
    ASSERT_TRUE(quantize_model(make("whole", 0, nullptr)).ok());
    EXPECT_THAT(quantize_model(make("parts", step, nullptr)).status().message(),
                HasSubstr("goes on from here"));
    ThreadRanks stopped(2);
    for (const Status& status : stopped.run(
             [&](Comm& comm) { return quantize_model(make("parts", 2 * step, &comm)).status(); })) {
      EXPECT_THAT(status.message(), HasSubstr("stopped before"));
    }
    ASSERT_TRUE(fs::exists(folder_ / ("parts" + suffix + ".work")));
    ThreadRanks ranks(3);
    for (const Status& status : ranks.run(
             [&](Comm& comm) { return quantize_model(make("parts", 1000, &comm)).status(); })) {
      EXPECT_TRUE(status.ok()) << status.message();
    }
    EXPECT_FALSE(fs::exists(folder_ / ("parts" + suffix + ".work")));
    const Bytes one = bytes_of("whole" + suffix);
    EXPECT_FALSE(one.empty());
    EXPECT_TRUE(one == bytes_of("parts" + suffix));
  }

  TempFolder folder_;
};

// A process that was killed is still there, for its parent to hear of, when the next one begins.
TEST_F(Resume, RemovesWhatAProcessLeftThatWasStillEnding) {
  const pid_t killed = ::fork();
  if (killed == 0) ::_exit(0);
  ASSERT_GT(killed, 0);
  siginfo_t ended;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(killed), &ended, WEXITED | WNOWAIT), 0);
  const std::string left = fmt::format("out.gguf.part-{}-0", killed);
  write_file(folder_ / left, "half");
  QuantizeJob whole = job("out.gguf");
  whole.work = WorkFolderOptions{};
  bool is_gone = false;
  whole.progress = [&](const Progress&) {
    if (!is_gone) is_gone = ::waitpid(killed, nullptr, 0) == killed;
    return true;
  };
  const auto result = quantize_model(std::move(whole));
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_TRUE(is_gone);
  EXPECT_FALSE(fs::exists(folder_ / left));
}

TEST_F(Resume, RanksGoOnFromEachOthersWork) {
  expect_same_bytes_with_ranks([](QuantizeJob&) {}, "-dense", 5);
}

TEST_F(Resume, RanksKnowTheScalesThatWereFound) {
  expect_same_bytes_with_ranks(
      [](QuantizeJob& job) {
        job.recipe.transform.steps = parse_transform_steps("smooth").value();
      },
      "-smooth", 5);
}

TEST_F(Resume, RanksGoOnWithinATapOfExperts) {
  if (!write_experts()) GTEST_SKIP() << "the tiny models are absent";
  expect_same_bytes_with_ranks([](QuantizeJob&) {}, "-experts", 13, "experts");
}

TEST_F(Resume, DenseFolderWithPropagation) {
  for (const int64_t step : {1, 3}) {
    for (const bool saves : {true, false}) {
      SCOPED_TRACE(testing::Message() << step << " " << saves);
      expect_same_bytes([](QuantizeJob&) {}, fmt::format("-{}{}", step, saves), step, saves);
    }
  }
}

TEST_F(Resume, GgufOfBlocksWithHeadAndEmbeddings) {
  const auto blocks = [](QuantizeJob& job) {
    job.recipe.grid = {};
    job.recipe.types.mix = "Q4_K_M";
    job.recipe.types.allow_fallback = true;
    job.recipe.propagate = false;
  };
  expect_same_bytes(blocks, ".gguf", 5, true);
}

TEST_F(Resume, GgufInParts) {
  const auto parts = [](QuantizeJob& job) { job.split_bytes = 200'000; };
  expect_same_bytes(parts, ".gguf", 4, true);
}

TEST_F(Resume, FolderOfCodes) {
  const auto codes = [](QuantizeJob& job) {
    job.recipe.code_format = "compressed-tensors";
    job.recipe.grid.bits = 4;
    job.recipe.grid.symmetric = true;
    job.recipe.method = "admm-q";
  };
  expect_same_bytes(codes, "", 2, true);
}

TEST_F(Resume, ScalesFoundOnTheWay) {
  const auto scaled = [](QuantizeJob& job) {
    job.recipe.transform.steps = parse_transform_steps("smooth:0.5,awq,magr").value();
  };
  expect_same_bytes(scaled, "-smooth", 5, true);
  expect_same_bytes(scaled, "-again", 3, false);
}

TEST_F(Resume, Experts) {
  if (!write_experts()) GTEST_SKIP() << "tiny/qwen3-moe is absent";
  expect_same_bytes([](QuantizeJob& job) { job.recipe.solver.effort = 1; }, "-e", 7, true,
                    "experts");
}

TEST_F(Resume, OutliersBesideTheGrid) {
  const auto outliers = [](QuantizeJob& job) {
    job.recipe.method = "gptq-outliers";
    job.recipe.solver.outlier_fraction = 0.02;
  };
  expect_same_bytes(outliers, "-o", 4, false);
}

TEST_F(Resume, BlocksBeforeTheSavedActivationsDoNotRunAgain) {
  EXPECT_FALSE(run_part(job("out"), kTinyLinears - 2).ok());
  EXPECT_TRUE(fs::exists(folder_ / "out.work/activations-0"));
  // Damaged ones are not used.
  std::string activations = slurp(folder_ / "out.work/activations-0");
  activations[100] = static_cast<char>(activations[100] ^ 1);
  const fs::path copy = folder_ / "copy";
  fs::copy(folder_ / "out.work", copy, fs::copy_options::recursive);
  EXPECT_TRUE(run_part(job("out"), 1000).ok());
  const Bytes with = bytes_of("out");
  fs::remove_all(folder_ / "out");
  fs::copy(copy, folder_ / "out.work", fs::copy_options::recursive);
  write_file(folder_ / "out.work/activations-0", activations);
  EXPECT_TRUE(run_part(job("out"), 1000).ok());
  EXPECT_TRUE(with == bytes_of("out"));
}

// Each of what the bytes depend on, one at a time.
TEST_F(Resume, IsRefusedWhereTheRunIsAnother) {
  const std::string config = slurp(folder_ / "model/config.json");
  const std::string tokenizer = slurp(folder_ / "model/tokenizer.json");
  const std::string weights = slurp(folder_ / "model/model.safetensors");
  std::string other_weights = weights;
  other_weights.back() = static_cast<char>(other_weights.back() ^ 1);
  struct Case {
    std::string field;
    std::function<void(QuantizeJob&)> change;
  };
  const auto file = [&](const char* name, const std::string& content) {
    return [=, this](QuantizeJob&) { write_file(folder_ / "model" / name, content); };
  };
  const std::vector<Case> cases = {
      {"coldpress version was test and is newer now", [](auto& j) { j.version = "newer"; }},
      {"model file config.json has changed", file("config.json", config + "\n")},
      {"model file tokenizer.json has changed", file("tokenizer.json", tokenizer + "\n")},
      {"model file model.safetensors has changed", file("model.safetensors", other_weights)},
      {"model file notes.txt is new", file("notes.txt", "a")},
      {"calibration windows has changed", [&](auto&) { write_tiny_text(folder_ / "text.txt", 2); }},
      {"recipe /grid/bits was 3 and is 4 now", [](auto& j) { j.recipe.grid.bits = 4; }},
      {"recipe /grid/group", [](auto& j) { j.recipe.grid.group = 16; }},
      {"recipe /method", [](auto& j) { j.recipe.method = "rtn"; }},
      {"recipe /propagate", [](auto& j) { j.recipe.propagate = false; }},
      {"recipe /calibration/samples", [](auto& j) { j.recipe.samples = 6; }},
      {"recipe /dense_type", [](auto& j) { j.recipe.dense_type = DType::kF32; }},
      {"--shard-size was 0 and is 1000000 now", [](auto& j) { j.shard_bytes = 1'000'000; }},
      {"--tokenizer-pre", [](auto& j) { j.tokenizer_pre = "gpt-2"; }},
  };
  EXPECT_FALSE(run_part(job("out"), 3).ok());
  for (const Case& c : cases) {
    QuantizeJob other = job("out");
    c.change(other);
    const Status status = run_part(std::move(other), 1000);
    EXPECT_THAT(status.message(), HasSubstr("out.work holds the work of another run"));
    EXPECT_THAT(status.message(), HasSubstr(c.field));
    EXPECT_THAT(status.message(), HasSubstr("--restart"));
    EXPECT_FALSE(fs::exists(folder_ / "out"));
    write_file(folder_ / "model/config.json", config);
    write_file(folder_ / "model/tokenizer.json", tokenizer);
    write_file(folder_ / "model/model.safetensors", weights);
    fs::remove(folder_ / "model/notes.txt");
    write_tiny_text(folder_ / "text.txt");
  }
  EXPECT_TRUE(run_part(job("out"), 1000).ok());
}

TEST_F(Resume, RestartBeginsAnew) {
  EXPECT_FALSE(run_part(job("out"), 3).ok());
  QuantizeJob other = job("out");
  other.recipe.grid.bits = 4;
  other.work = WorkFolderOptions{.restart = true};
  EXPECT_TRUE(quantize_model(std::move(other)).ok());
  EXPECT_THAT(folder_.names(), ElementsAre("model", "out", "text.txt"));
}

TEST_F(Resume, OneProcessAtATime) {
  EXPECT_FALSE(run_part(job("out"), 3).ok());
  const auto held = WorkFolder::claim(folder_ / "out", {});
  ASSERT_TRUE(held.ok());
  const Status status = run_part(job("out"), 1000);
  EXPECT_THAT(status.message(), HasSubstr("another process is writing this output"));
}

TEST_F(Resume, AnErrorBeforeAnythingIsSolvedLeavesNothing) {
  QuantizeJob wrong = job("out");
  wrong.recipe.samples = 100'000;
  EXPECT_FALSE(run_part(std::move(wrong), 1000).ok());
  EXPECT_THAT(folder_.names(), ElementsAre("model", "text.txt"));
}

TEST_F(Resume, AForeignFolderIsLeftAlone) {
  write_file(folder_ / "out.work/mine", "a");
  EXPECT_TRUE(run_part(job("out"), 1000).ok());
  EXPECT_THAT(folder_.names(), ElementsAre("model", "out", "out.work", "text.txt"));
  EXPECT_EQ("a", slurp(folder_ / "out.work/mine"));
  EXPECT_FALSE(fs::exists(folder_ / "out.work/journal"));
}

// A process that ended between the output's last step and the removal of its work.
TEST_F(Resume, AnOutputThatIsCompleteIsNotMadeAgain) {
  EXPECT_FALSE(run_part(job("out"), kTinyLinears).ok());
  fs::copy(folder_ / "out.work", folder_ / "copy", fs::copy_options::recursive);
  EXPECT_TRUE(run_part(job("out"), 1000).ok());
  const std::string manifest = slurp(folder_ / "out/coldpress.json");
  fs::rename(folder_ / "copy", folder_ / "out.work");
  const auto late = [&] {
    auto work = WorkFolder::claim(folder_ / "out", {});
    ASSERT_TRUE(work.ok());
    ASSERT_TRUE((*work)->journal().add_manifest(manifest).ok());
  };
  late();
  EXPECT_TRUE(run_part(job("out"), 1000).ok());
  EXPECT_EQ(manifest, slurp(folder_ / "out/coldpress.json"));
  EXPECT_FALSE(fs::exists(folder_ / "out.work"));
}

TEST_F(Resume, PartsOfACommitThatWasCutShortGo) {
  write_file(folder_ / "out.gguf.coldpress.json", "manifest");
  for (const char* name : {"out-00002-of-00003.gguf", "out-00003-of-00003.gguf"}) {
    write_file(folder_ / name, "a");
  }
  EXPECT_FALSE(recover_output(folder_ / "out.gguf", "another"));
  EXPECT_TRUE(fs::exists(folder_ / "out-00003-of-00003.gguf"));
  EXPECT_FALSE(recover_output(folder_ / "out.gguf", "manifest"));
  EXPECT_FALSE(fs::exists(folder_ / "out-00003-of-00003.gguf"));
  EXPECT_FALSE(fs::exists(folder_ / "out-00002-of-00003.gguf"));
  for (const char* name : {"out-00001-of-00002.gguf", "out-00002-of-00002.gguf"}) {
    write_file(folder_ / name, "a");
  }
  EXPECT_TRUE(recover_output(folder_ / "out.gguf", "manifest"));
}

TEST_F(Resume, DiskSpaceIsLookedAtFirst) {
  DiskNeeds needs;
  needs.output = UINT64_MAX / 2;
  needs.activations = 5'000'000;
  const Status status = check_disk_space(folder_ / "out", needs, 0);
  EXPECT_THAT(status.message(), HasSubstr("out needs "));
  EXPECT_THAT(status.message(), HasSubstr("5 MB to go on after an interruption"));
  EXPECT_THAT(status.message(), HasSubstr("--no-resume"));
  EXPECT_TRUE(check_disk_space(folder_ / "out", {}, 0).ok());
}

}  // namespace
}  // namespace coldpress::test
