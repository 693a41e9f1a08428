// The n-th call of a kind fails, for every n: the run ends with an error that names a path, nothing
// but the whole output ever has the output's name, and the same job afterwards makes the right one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include "base/view.h"
#include "io/json.h"
#include "io/spill.h"
#include "pipeline/quantize_model.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_job.h"
#include "tests/cli/tiny_model.h"
#include "tests/faults/faulty_os.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Faults : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }
  void TearDown() override { fail_call(Call::kOpen, 0, 0); }

  Status quantize(const std::string& out) {
    QuantizeJob job = tiny_job(folder_.path(), out);
    job.recipe.method = "rtn";
    job.recipe.grid.bits = 4;
    job.recipe.grid.clip = Clip::kNone;
    job.recipe.samples = 1;
    job.recipe.seqlen = 16;
    job.work = WorkFolderOptions{.save_spacing = 0};
    notice_.clear();
    job.notice = [this](const std::string& text) { notice_ = text; };
    return quantize_model(std::move(job)).status();
  }

  // Of a folder or of a GGUF file.
  std::string weights(const std::string& out) const {
    return slurp(out.ends_with(".gguf") ? folder_ / out : folder_ / out / "model.safetensors");
  }

  void fail_each(Call call, int error) {
    for (const std::string out : {"out", "out.gguf"}) {
      fail_call(call, 0, 0);
      ASSERT_TRUE(quantize("right" + out.substr(3)).ok());
      const std::string right = weights("right" + out.substr(3));
      int64_t n = 1;
      for (;; ++n) {
        SCOPED_TRACE(testing::Message() << out << ", call " << n);
        fail_call(call, n, error);
        const Status status = quantize(out);
        const bool fired = has_failed();
        fail_call(call, 0, 0);
        if (status.ok()) {  // nothing failed, or nothing that matters
          EXPECT_TRUE(right == weights(out));
        } else {
          EXPECT_TRUE(fired);
          EXPECT_THAT(status.message(), HasSubstr(folder_.path().string()));
          if (fs::exists(folder_ / out)) {
            EXPECT_TRUE(right == weights(out));
          }
          const Status again = quantize(out);
          EXPECT_TRUE(again.ok()) << status.message() << "\n" << again.message();
          EXPECT_TRUE(right == weights(out));
        }
        if (call == Call::kRemove && fired) {
          EXPECT_TRUE(status.ok()) << status.message();
          const bool is_left = fs::exists(folder_ / (out + ".work"));
          EXPECT_EQ(notice_.find(out + ".work could not") != std::string::npos, is_left) << notice_;
          fs::remove_all(folder_ / out);
          fs::remove((folder_ / out).string() + ".coldpress.json");
          const Status again = quantize(out);  // what stayed is no hindrance, and goes
          EXPECT_TRUE(again.ok()) << again.message();
          EXPECT_TRUE(right == weights(out));
        }
        // No work, nothing temporary.
        for (const std::string& name : folder_.names()) {
          EXPECT_TRUE(name.find(".part-") == std::string::npos && !name.ends_with(".work")) << name;
        }
        fs::remove_all(folder_ / out);
        fs::remove((folder_ / out).string() + ".coldpress.json");
        if (!fired) break;
        ASSERT_LT(n, 10000);
        if (HasFailure()) return;
      }
      EXPECT_GT(n, 1) << "no call of this kind is made";
    }
  }

  TempFolder folder_;
  std::string notice_;
};

TEST_F(Faults, OfOpening) { fail_each(Call::kOpen, EIO); }
TEST_F(Faults, OfReading) { fail_each(Call::kRead, EIO); }
TEST_F(Faults, OfMapping) { fail_each(Call::kMap, ENOMEM); }
TEST_F(Faults, OfCreating) { fail_each(Call::kCreate, ENOSPC); }
TEST_F(Faults, OfWriting) { fail_each(Call::kWrite, ENOSPC); }
TEST_F(Faults, OfFlushing) { fail_each(Call::kSync, EIO); }
TEST_F(Faults, OfRenaming) { fail_each(Call::kRename, EIO); }
TEST_F(Faults, OfRemoving) { fail_each(Call::kRemove, EPERM); }
TEST_F(Faults, OfLookingForSpace) { fail_each(Call::kFreeSpace, EIO); }

TEST_F(Faults, OfSpilling) {
  const fs::path disk = fs::current_path() / "spill-faults";  // beside the tests: on a disk
  fs::create_directory(disk);
  const auto spill = SpillFolder::open(disk, 0);
  ASSERT_TRUE(spill.ok()) << spill.status().message();
  for (const auto& [call, error] :
       {std::pair(Call::kCreate, EMFILE), std::pair(Call::kWrite, ENOSPC),
        std::pair(Call::kMap, ENOMEM)}) {
    int64_t n = 1;
    for (;; ++n) {
      fail_call(call, n, error);
      const Status status = MatrixF::create(100, 100, *spill).status();
      if (!has_failed()) break;
      EXPECT_THAT(status.message(), HasSubstr(disk.string()));
      EXPECT_THAT(status.message(), HasSubstr("--work-dir"));
    }
    EXPECT_GT(n, 1) << "no call of this kind is made";
  }
  EXPECT_TRUE(fs::is_empty(disk));
  fs::remove(disk);
}

}  // namespace
}  // namespace coldpress::test
